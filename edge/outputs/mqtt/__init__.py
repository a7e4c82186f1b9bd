"""MQTT: what a broker is told, and how nothing is lost while it cannot be reached."""
