"""The machines themselves: what they are, and whether they can carry a cluster."""
