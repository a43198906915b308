"""The ways in: the command line, and the wiring that builds the world it works in."""
