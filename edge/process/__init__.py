"""What keeps a process going: threads that are begun again, streams whose readers may not read, calls that never return, signals that end it."""
