"""GTSRB and GTSDB as their authors lay them out: photos, splits, classes, frames."""
