# Whether the API server of this machine says that it is ready.
k3s kubectl get --raw /readyz --request-timeout=5s
