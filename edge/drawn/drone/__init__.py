"""A drone's flight: its way, what lies below and around it, and what its camera makes of it."""
