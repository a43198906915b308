"""What will be done, as data: pure, frozen, shown whole before any of it happens."""
