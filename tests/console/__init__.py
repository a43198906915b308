"""The console: driven by keys, in a real terminal and by pilot."""
