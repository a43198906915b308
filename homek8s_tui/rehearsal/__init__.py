"""A home in memory: the same questions, the same states, the same refusals, and the real engine over them."""
