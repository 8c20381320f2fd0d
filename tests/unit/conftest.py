"""Unit tests share tests/asking.py; pytest's importlib mode adds no path of its own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
