"""What others offer on the same machine: runtimes and a detector."""
