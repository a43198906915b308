"""One room a feature; each has the same doors, none obligatory."""
