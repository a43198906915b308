"""From bare machines to a reachable cluster: composes the rooms."""
