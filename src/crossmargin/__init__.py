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
    "Cascade": "analytics.cascade",
    "Case": "files.accounts",
    "ChangeRules": "model.change",
    "Close": "model.change",
    "Comparison": "analytics.comparison",
    "Compiled": "analytics.compiled",
    "Covariance": "analytics.covariance",
    "Crossing": "model.report",
    "CrossmarginError": "errors",
    "Curve": "analytics.curve",
    "Depeg": "analytics.stress",
    "Deposit": "model.change",
    "Fault": "errors",
    "FundingOutlook": "analytics.funding",
    "FundingPayment": "analytics.funding",
    "HeatMap": "analytics.stress",
    "HedgeChoice": "analytics.hedge",
    "HedgeEffect": "analytics.hedge",
    "Imported": "files.unified",
    "InstrumentRule": "model.profile",
    "Line": "model.report",
    "Liquidated": "engine.liquidation",
    "LiquidationProbability": "analytics.barrier",
    "Market": "model.market",
    "MarketDataError": "errors",
    "MaxOrder": "analytics.limits",
    "MaxWithdraw": "analytics.limits",
    "MissingExtra": "errors",
    "MovePrice": "model.change",
    "NearestChance": "analytics.barrier",
    "NeutralPair": "analytics.hedge",
    "OpenOrder": "model.account",
    "Order": "model.change",
    "Outcome": "analytics.stress",
    "Position": "model.account",
    "Prepared": "engine.prepare",
    "Profile": "model.profile",
    "ProfileError": "errors",
    "ReconciledFigure": "analytics.reconciliation",
    "Reconciliation": "analytics.reconciliation",
    "Report": "model.report",
    "Reported": "model.reported",
    "Requirement": "analytics.hedge",
    "ReverseStress": "analytics.reverse_stress",
    "RuleDifference": "analytics.rule_difference",
    "Rules": "model.profile",
    "Runway": "analytics.funding",
    "SafetyBuffer": "analytics.stress",
    "Scenario": "model.scenario",
    "Sensitivity": "analytics.sensitivity",
    "SetBalance": "model.change",
    "SetLeverage": "model.change",
    "SetMarginMode": "model.change",
    "ShockThreshold": "model.report",
    "Threshold": "model.report",
    "Thresholds": "model.report",
    "Transfer": "model.change",
    "UnsupportedRule": "errors",
    "VenueError": "errors",
    "WhatIf": "analytics.whatif",
    "Withdraw": "model.change",
    "WorstCase": "analytics.stress",
    "WorstInBox": "analytics.box",
    "apply_changes": "analytics.whatif",
    "best_hedge": "analytics.hedge",
    "cascade": "analytics.cascade",
    "cascades": "analytics.cascade",
    "case_from": "files.accounts",
    "changes_from": "model.change",
    "compare": "analytics.comparison",
    "compile_scenarios": "analytics.compiled",
    "correlated": "analytics.covariance",
    "covariance_of": "analytics.covariance",
    "curve": "analytics.curve",
    "deleverage": "engine.liquidation",
    "depeg": "analytics.stress",
    "estimate_covariance": "analytics.covariance",
    "evaluate": "engine.reference",
    "frame": "apps.notebook",
    "funding": "analytics.funding",
    "heat_map": "analytics.stress",
    "hedge": "analytics.hedge",
    "historical_scenarios": "files.scenarios",
    "import_account": "files.unified",
    "ladder": "analytics.stress",
    "liquidate": "engine.liquidation",
    "liquidation_probability": "analytics.barrier",
    "load": "files.accounts",
    "load_history": "files.scenarios",
    "load_ipython_extension": "apps.notebook",
    "load_profile": "files.profiles",
    "load_scenarios": "files.scenarios",
    "max_order": "analytics.limits",
    "max_withdraw": "analytics.limits",
    "measure": "engine.reference",
    "nearest_chance": "analytics.barrier",
    "neutral_pairs": "analytics.hedge",
    "next_step": "engine.liquidation",
    "prepare": "engine.prepare",
    "profile_ids": "files.profiles",
    "read_payload_file": "files.unified",
    "reconcile": "analytics.reconciliation",
    "reported_from": "model.reported",
    "requirements": "analytics.hedge",
    "reverse_stress": "analytics.reverse_stress",
    "rule_difference": "analytics.rule_difference",
    "runway": "analytics.funding",
    "safety_buffer": "analytics.stress",
    "sensitivity": "analytics.sensitivity",
    "show": "apps.notebook",
    "stress": "analytics.stress",
    "threshold": "analytics.threshold",
    "threshold_along": "analytics.threshold",
    "thresholds_of": "analytics.threshold",
    "to_json": "model.report",
    "to_plain": "model.report",
    "unload_ipython_extension": "apps.notebook",
    "whatif": "analytics.whatif",
    "worst_case": "analytics.stress",
    "worst_in_box": "analytics.box",
}

__all__ = [
    "Account",
    "AccountError",
    "AssetRule",
    "Balance",
    "Cascade",
    "Case",
    "ChangeRules",
    "Close",
    "Comparison",
    "Compiled",
    "Covariance",
    "Crossing",
    "CrossmarginError",
    "Curve",
    "Depeg",
    "Deposit",
    "Fault",
    "FundingOutlook",
    "FundingPayment",
    "HeatMap",
    "HedgeChoice",
    "HedgeEffect",
    "Imported",
    "InstrumentRule",
    "Line",
    "Liquidated",
    "LiquidationProbability",
    "Market",
    "MarketDataError",
    "MaxOrder",
    "MaxWithdraw",
    "MissingExtra",
    "MovePrice",
    "NearestChance",
    "NeutralPair",
    "OpenOrder",
    "Order",
    "Outcome",
    "Position",
    "Prepared",
    "Profile",
    "ProfileError",
    "ReconciledFigure",
    "Reconciliation",
    "Report",
    "Reported",
    "Requirement",
    "ReverseStress",
    "RuleDifference",
    "Rules",
    "Runway",
    "SafetyBuffer",
    "Scenario",
    "Sensitivity",
    "SetBalance",
    "SetLeverage",
    "SetMarginMode",
    "ShockThreshold",
    "Threshold",
    "Thresholds",
    "Transfer",
    "UnsupportedRule",
    "VenueError",
    "WhatIf",
    "Withdraw",
    "WorstCase",
    "WorstInBox",
    "apply_changes",
    "best_hedge",
    "cascade",
    "cascades",
    "case_from",
    "changes_from",
    "compare",
    "compile_scenarios",
    "correlated",
    "covariance_of",
    "curve",
    "deleverage",
    "depeg",
    "estimate_covariance",
    "evaluate",
    "frame",
    "funding",
    "heat_map",
    "hedge",
    "historical_scenarios",
    "import_account",
    "ladder",
    "liquidate",
    "liquidation_probability",
    "load",
    "load_history",
    "load_ipython_extension",
    "load_profile",
    "load_scenarios",
    "max_order",
    "max_withdraw",
    "measure",
    "nearest_chance",
    "neutral_pairs",
    "next_step",
    "prepare",
    "profile_ids",
    "read_payload_file",
    "reconcile",
    "reported_from",
    "requirements",
    "reverse_stress",
    "rule_difference",
    "runway",
    "safety_buffer",
    "sensitivity",
    "show",
    "stress",
    "threshold",
    "threshold_along",
    "thresholds_of",
    "to_json",
    "to_plain",
    "unload_ipython_extension",
    "whatif",
    "worst_case",
    "worst_in_box",
]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from crossmargin.analytics.barrier import (
        LiquidationProbability,
        NearestChance,
        liquidation_probability,
        nearest_chance,
    )
    from crossmargin.analytics.box import WorstInBox, worst_in_box
    from crossmargin.analytics.cascade import Cascade, cascade, cascades
    from crossmargin.analytics.comparison import Comparison, compare
    from crossmargin.analytics.compiled import Compiled, compile_scenarios
    from crossmargin.analytics.covariance import Covariance, correlated, covariance_of, estimate_covariance
    from crossmargin.analytics.curve import Curve, curve
    from crossmargin.analytics.funding import FundingOutlook, FundingPayment, Runway, funding, runway
    from crossmargin.analytics.hedge import (
        HedgeChoice,
        HedgeEffect,
        NeutralPair,
        Requirement,
        best_hedge,
        hedge,
        neutral_pairs,
        requirements,
    )
    from crossmargin.analytics.limits import MaxOrder, MaxWithdraw, max_order, max_withdraw
    from crossmargin.analytics.reconciliation import ReconciledFigure, Reconciliation, reconcile
    from crossmargin.analytics.reverse_stress import ReverseStress, reverse_stress
    from crossmargin.analytics.rule_difference import RuleDifference, rule_difference
    from crossmargin.analytics.sensitivity import Sensitivity, sensitivity
    from crossmargin.analytics.stress import (
        Depeg,
        HeatMap,
        Outcome,
        SafetyBuffer,
        WorstCase,
        depeg,
        heat_map,
        ladder,
        safety_buffer,
        stress,
        worst_case,
    )
    from crossmargin.analytics.threshold import threshold, threshold_along, thresholds_of
    from crossmargin.analytics.whatif import WhatIf, apply_changes, whatif
    from crossmargin.apps.notebook import frame, load_ipython_extension, show, unload_ipython_extension
    from crossmargin.engine.liquidation import Liquidated, deleverage, liquidate, next_step
    from crossmargin.engine.prepare import Prepared, prepare
    from crossmargin.engine.reference import evaluate, measure
    from crossmargin.errors import (
        AccountError,
        CrossmarginError,
        Fault,
        MarketDataError,
        MissingExtra,
        ProfileError,
        UnsupportedRule,
        VenueError,
    )
    from crossmargin.files.accounts import Case, case_from, load
    from crossmargin.files.profiles import load_profile, profile_ids
    from crossmargin.files.scenarios import historical_scenarios, load_history, load_scenarios
    from crossmargin.files.unified import Imported, import_account, read_payload_file
    from crossmargin.model.account import Account, Balance, OpenOrder, Position
    from crossmargin.model.change import (
        ChangeRules,
        Close,
        Deposit,
        MovePrice,
        Order,
        SetBalance,
        SetLeverage,
        SetMarginMode,
        Transfer,
        Withdraw,
        changes_from,
    )
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
        to_plain,
    )
    from crossmargin.model.reported import Reported, reported_from
    from crossmargin.model.scenario import Scenario


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'crossmargin' has no attribute {name!r}")
    value = getattr(import_module(f"crossmargin.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
