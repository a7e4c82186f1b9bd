"""What decodes a recording: PyAV where it is installed, else OpenCV."""
