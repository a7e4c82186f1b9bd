"""The annotated picture as a stream of H.264, for players and ground stations."""
