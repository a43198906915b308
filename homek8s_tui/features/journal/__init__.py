"""What was done: every run, its steps, and the way back."""
