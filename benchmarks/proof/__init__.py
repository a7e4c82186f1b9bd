"""Protocols that others use, so that figures can stand beside the best that are published."""

PARTS = ("photos", "corruptions", "frames", "rejection")
