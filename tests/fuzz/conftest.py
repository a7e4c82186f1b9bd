"""How long is sought: a few seconds a test in the suite, the same inputs each time; new ones for minutes by `scripts/soak --fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]}
settings.register_profile("suite", max_examples=150, derandomize=True, **_COMMON)
settings.register_profile("soak", max_examples=3000, **_COMMON)
settings.load_profile(os.environ.get("SIGNWING_FUZZ", "suite"))
