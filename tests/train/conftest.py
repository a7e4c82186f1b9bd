"""What tests of training share."""

import pytest
from training import signs, table


@pytest.fixture(scope="module")
def all_classes(tmp_path_factory):
    """A data set of all 43 classes, 2 tracks of 2 photos each."""
    root = tmp_path_factory.mktemp("all")
    table(root, "Train.csv", signs(range(43), 2, 2))
    return root
