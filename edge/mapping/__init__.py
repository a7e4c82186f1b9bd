"""Where signs stand: from what a camera saw, and where it was, to places, and from the places of many flights to a map."""
