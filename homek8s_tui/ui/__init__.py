"""What screens share: actions, threads, dialogs, themes, the plan's review and the run's picture."""
