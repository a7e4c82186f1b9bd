"""Signs followed from frame to frame: drawn flights, real signs that come nearer, and a camera that pans, banks and shakes."""
