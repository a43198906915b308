"""Machines: what can be asked of one, what can be changed on one, and the SSH that carries both."""
