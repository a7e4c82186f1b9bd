"""RTP video, packet by packet: who owns the port, what is in it, and what is recorded."""
