"""Where results go: event lines, the console, video, MAVLink, the page."""
