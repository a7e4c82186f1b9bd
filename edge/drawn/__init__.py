"""Signs and flights that are drawn: everything can be tried without a camera or a data set."""
