# A new token that lets agents join for an hour: the only output.
k3s token create --ttl 1h
