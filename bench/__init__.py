"""Side by side: us and the tools that people would use instead, on the same machines in the same run."""
