"""Where things are: boxes in a picture, turns of its plane, and the pose of a camera. Words and sums that all share; nothing here opens anything."""
