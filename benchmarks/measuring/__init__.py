"""What every measurement rests on: what runs, in which state of the machine, and in which process."""
