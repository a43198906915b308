"""What runs approved plans: observing, the loop, the journal, the executors, the probes."""
