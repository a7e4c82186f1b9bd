"""What runs a model: one contract, and a file for each library behind it."""
