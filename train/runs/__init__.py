"""A run: its folder, what it keeps, and where it runs."""
