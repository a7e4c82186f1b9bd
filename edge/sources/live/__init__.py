"""Live feeds: cameras and streams that break and come back."""
