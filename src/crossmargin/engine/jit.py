"""The formulas of the field, compiled: the same function objects that the judge runs.

Compiled code is kept on disk in a folder named after the text of the formulas and kernels, so an edit of either can
never meet a stale binary. No fast-math: results are those of IEEE arithmetic in the order written, on every machine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from crossmargin.engine import formulas
from crossmargin.errors import MissingExtra

try:
    import numba
except ImportError as error:  # pragma: no cover - the extra is installed where the tests run
    raise MissingExtra("book", "the compiled runner needs Numba; install crossmargin[book]") from error

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])
_TEXTS = (
    "formulas.py",
    "jit.py",
    "rows.py",
    "kernel.py",
    "crossings.py",
    "scenarios.py",
    "tables.py",
    "columns.py",
    "buckets.py",
    "intervals.py",
    "ticking.py",
    "slots.py",
    "resting.py",
)


def cache_folder() -> Path:
    """Where compiled code is kept: $NUMBA_CACHE_DIR, else the user's cache, one folder for each text of the kernels."""
    here = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for name in _TEXTS:
        if (here / name).is_file():
            digest.update((here / name).read_bytes())
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "crossmargin" / digest.hexdigest()[:16]


_FOLDER = str(cache_folder())


_njit: Any = numba.njit
_config: Any = numba.config


def compiled(function: AnyFunction) -> AnyFunction:
    """Compile a kernel on first use: outside the interpreter's lock, division as IEEE has it, kept on disk."""
    before, _config.CACHE_DIR = _config.CACHE_DIR, _FOLDER
    try:
        made: AnyFunction = _njit(nogil=True, cache=True, error_model="numpy")(function)
    finally:
        _config.CACHE_DIR = before
    return made


def woven(function: AnyFunction) -> AnyFunction:
    """Compile a function into the kernels that call it: an array handed to a call costs more than the call's work."""
    made: AnyFunction = _njit(nogil=True, error_model="numpy", inline="always")(function)
    return made


def spliced(kernel: AnyFunction) -> AnyFunction:
    """A kernel to be taken into another one by the code generator, where :func:`woven` has too many arguments to weave:
    handing over all its arrays would cost more than one pool's work."""
    text: Any = kernel
    made: AnyFunction = _njit(nogil=True, error_model="numpy", forceinline=True)(text.py_func)
    return made


def formula(function: AnyFunction) -> AnyFunction:
    """Compile one formula as it stands; the kernels that call it take it in."""
    made: AnyFunction = _njit(nogil=True, error_model="numpy")(function)
    return made


linear_pnl = formula(formulas.linear_pnl)
linear_notional = formula(formulas.linear_notional)
bracket_requirement = formula(formulas.bracket_requirement)
share_of = formula(formulas.share_of)
leverage_requirement = formula(formulas.leverage_requirement)
size_rate = formula(formulas.size_rate)
cross_bankruptcy_value = formula(formulas.cross_bankruptcy_value)
isolated_bankruptcy_value = formula(formulas.isolated_bankruptcy_value)
tier_amount = formula(formulas.tier_amount)
bid_ask_value = formula(formulas.bid_ask_value)
assuming_price = formula(formulas.assuming_price)
headroom = formula(formulas.headroom)
