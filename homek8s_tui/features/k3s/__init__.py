"""K3s on the nodes, and the way to its API."""
