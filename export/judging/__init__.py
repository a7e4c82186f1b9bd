"""How good the artefacts are, and what is refused."""
