"""The open, exact margin system for crypto futures.

>>> import crossmargin as cm
>>> case = cm.load("examples/article-3.1.toml")
>>> cm.evaluate(*case).status
'liquidation'

The names below load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Account": "model.account",
    "AccountError": "errors",
    "AssetRule": "model.profile",
    "Balance": "model.account",
    "Case": "files.accounts",
    "CrossmarginError": "errors",
    "Crossing": "model.report",
    "Fault": "errors",
    "InstrumentRule": "model.profile",
    "Line": "model.report",
    "Market": "model.market",
    "MarketDataError": "errors",
    "OpenOrder": "model.account",
    "Position": "model.account",
    "Prepared": "engine.prepare",
    "Profile": "model.profile",
    "ProfileError": "errors",
    "Report": "model.report",
    "Rules": "model.profile",
    "ShockThreshold": "model.report",
    "Threshold": "model.report",
    "Thresholds": "model.report",
    "UnsupportedRule": "errors",
    "case_from": "files.accounts",
    "evaluate": "engine.reference",
    "load": "files.accounts",
    "load_profile": "files.profiles",
    "measure": "engine.reference",
    "prepare": "engine.prepare",
    "profile_ids": "files.profiles",
    "threshold": "analytics.threshold",
    "threshold_along": "analytics.threshold",
    "thresholds_of": "analytics.threshold",
    "to_json": "model.report",
}

__all__ = [
    "Account",
    "AccountError",
    "AssetRule",
    "Balance",
    "Case",
    "Crossing",
    "CrossmarginError",
    "Fault",
    "InstrumentRule",
    "Line",
    "Market",
    "MarketDataError",
    "OpenOrder",
    "Position",
    "Prepared",
    "Profile",
    "ProfileError",
    "Report",
    "Rules",
    "ShockThreshold",
    "Threshold",
    "Thresholds",
    "UnsupportedRule",
    "case_from",
    "evaluate",
    "load",
    "load_profile",
    "measure",
    "prepare",
    "profile_ids",
    "threshold",
    "threshold_along",
    "thresholds_of",
    "to_json",
]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from crossmargin.analytics.threshold import threshold, threshold_along, thresholds_of
    from crossmargin.engine.prepare import Prepared, prepare
    from crossmargin.engine.reference import evaluate, measure
    from crossmargin.errors import (
        AccountError,
        CrossmarginError,
        Fault,
        MarketDataError,
        ProfileError,
        UnsupportedRule,
    )
    from crossmargin.files.accounts import Case, case_from, load
    from crossmargin.files.profiles import load_profile, profile_ids
    from crossmargin.model.account import Account, Balance, OpenOrder, Position
    from crossmargin.model.market import Market
    from crossmargin.model.profile import AssetRule, InstrumentRule, Profile, Rules
    from crossmargin.model.report import (
        Crossing,
        Line,
        Report,
        ShockThreshold,
        Threshold,
        Thresholds,
        to_json,
    )


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'crossmargin' has no attribute {name!r}")
    value = getattr(import_module(f"crossmargin.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
