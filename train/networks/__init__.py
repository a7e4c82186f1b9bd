"""The networks and what they start from."""
