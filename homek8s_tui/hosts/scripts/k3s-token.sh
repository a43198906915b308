# A new token that lets agents join for an hour: the only output.
timeout 30 k3s token create --ttl 1h && exit 0
echo "the API server here made no join token; 'journalctl -u k3s' says what is wrong with it" >&2
exit 1
