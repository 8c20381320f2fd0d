"""The clearing's tests share world.py; pytest's importlib mode adds no path of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path[:0] = [str(Path(__file__).parent)]

settings.register_profile(
    "clearing",
    derandomize=True,
    deadline=None,
    max_examples=20,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    database=None,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE_CLEARING", "clearing"))
