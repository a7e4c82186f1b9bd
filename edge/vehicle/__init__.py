"""What a vehicle tells of itself: how it and its camera are turned, now or in the log of a flight, and frames turned level by that."""
