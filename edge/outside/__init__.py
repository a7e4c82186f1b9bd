"""What comes from outside, made fit to be shown, read and held: text, files and the headers of pictures."""
