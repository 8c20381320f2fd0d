"""How the property tests run: the same examples everywhere, no deadline, a moderate number of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

# tests share oracle.py, strategies.py and matching.py; pytest's importlib mode adds no path of its own
sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent)]

_LOUD = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile(
    "house",
    derandomize=True,
    deadline=None,
    max_examples=20,
    print_blob=True,
    suppress_health_check=_LOUD,
    database=None,
)
settings.register_profile(
    # other examples each time, many; the first failure as it came, without the minutes of making it small
    "search", settings.get_profile("house"), derandomize=False, max_examples=1000, phases=[Phase.generate],
    report_multiple_bugs=False,
)  # fmt: skip
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))
