"""The WireGuard tunnel that joins the proxy and the nodes."""
