"""The home as one picture."""
