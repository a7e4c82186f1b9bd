"""What a process has to do with others: signals that end it, and streams whose readers may not read."""
