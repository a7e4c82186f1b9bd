"""What is typed behind `python -m edge`, a file for each word."""
