"""Traefik in the cloud: the one door to the home."""
