"""`python -m edge survey`: a season's recordings to one map of signs, file by file, by processes of this machine or by a cluster's."""
