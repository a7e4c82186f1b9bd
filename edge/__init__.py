"""Signwing's edge runtime: camera frames in, named traffic signs out. Needs numpy and OpenCV; everything else is optional."""

__version__ = "0.1.0"
