"""What tests of edge share."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import rewrite

from edge.bundle.manifest import Thresholds


@pytest.fixture
def bundle(tiny_bundle: Path) -> Path:
    """A small bundle whose classifier accepts everything."""
    rewrite(tiny_bundle, thresholds=Thresholds(0.0))
    return tiny_bundle
