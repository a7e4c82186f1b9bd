"""What a run tells people: curves, sheets of photos, the page."""
