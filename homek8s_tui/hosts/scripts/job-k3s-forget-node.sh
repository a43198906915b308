# NAME: deletes a node from the cluster whose server this is. Addressed directly, as its state is asked for.
k3s kubectl delete --raw "/api/v1/nodes/$1" --request-timeout=30s >/dev/null && exit 0
echo "the API server here did not delete the node; 'journalctl -u k3s' says what is wrong with it"
exit 1
