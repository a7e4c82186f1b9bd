"""Signs of one's own: what lies in a folder, split so that nothing leaks, and made a data set that training, export and benchmarks read."""
