"""What machine this is and how it fares: a Jetson and its JetPack, clocks, memory, temperatures."""
