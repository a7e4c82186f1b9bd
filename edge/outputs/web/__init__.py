"""The page: its server, who may look, and what it shows."""
