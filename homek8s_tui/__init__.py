"""A console and a toolkit for a K3s cluster at home that the internet reaches through a tunnel."""

__version__ = "0.1.0"
