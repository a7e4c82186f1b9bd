"""From a frame to named, followed signs: proposals, names, votes. Pure: no camera, no socket, no file."""
