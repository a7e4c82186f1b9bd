"""What a network is shown: photos and frames, as they are, varied and drawn."""
