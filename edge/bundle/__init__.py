"""The bundle: its manifest, how engines built from it are guarded, and what else stands in it."""
