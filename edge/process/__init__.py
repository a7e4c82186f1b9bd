"""What a process has to do with others: signals that end it, streams whose readers may not read, and calls that never return."""
