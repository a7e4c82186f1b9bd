"""What programs call: signs in pictures, events of a stream, in a few lines of Python. The command line is written on it."""
