"""MAVLink: what an autopilot is told, over which link, and in how many words."""
