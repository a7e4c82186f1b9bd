"""What is wrong with this machine, and what cures it."""
