"""What is sent to machines, what comes back, and the SSH in between."""
