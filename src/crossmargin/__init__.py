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
    "AssetRule": "model.brackets",
    "Balance": "model.account",
    "Bar": "model.history",
    "Book": "engine.book",
    "BookReport": "analytics.book",
    "BookSensitivity": "analytics.book",
    "BookStress": "analytics.book",
    "BookThresholds": "analytics.book",
    "Cascade": "analytics.cascade",
    "Case": "files.accounts",
    "Chance": "analytics.allocation_chance",
    "ChangeRules": "model.change",
    "Close": "model.change",
    "CommandRejected": "errors",
    "Comparison": "analytics.comparison",
    "Compiled": "analytics.compiled",
    "Covariance": "analytics.covariance",
    "Crossing": "model.report",
    "CrossmarginError": "errors",
    "Curve": "analytics.curve",
    "Depeg": "analytics.stress",
    "Deposit": "model.change",
    "Fault": "errors",
    "FrontierPoint": "analytics.allocation",
    "Fund": "model.fund",
    "FundingOutlook": "analytics.funding",
    "FundingPayment": "analytics.funding",
    "HeatMap": "analytics.stress",
    "HedgeChoice": "analytics.best_hedge",
    "HedgeEffect": "analytics.hedge",
    "Imported": "files.unified",
    "InstrumentRule": "model.brackets",
    "JournalError": "errors",
    "LeverageChoice": "model.fund",
    "Line": "model.report",
    "Liquidated": "engine.liquidation",
    "LiquidationProbability": "analytics.barrier",
    "Market": "model.market",
    "MarketDataError": "errors",
    "MaxOrder": "analytics.limits",
    "MaxWithdraw": "analytics.limits",
    "MissingExtra": "errors",
    "ModeChoice": "model.fund",
    "MovePrice": "model.change",
    "NearestChance": "analytics.barrier",
    "NeutralPair": "analytics.hedge",
    "NoPlan": "errors",
    "OpenOrder": "model.account",
    "Order": "model.change",
    "Outcome": "analytics.stress",
    "PaidFunding": "model.payment",
    "Plan": "analytics.allocation",
    "Pocket": "model.account",
    "Position": "model.account",
    "Prepared": "engine.pool",
    "Prices": "engine.prices",
    "Profile": "model.profile",
    "ProfileError": "errors",
    "Reason": "engine.columns",
    "ReconciledFigure": "analytics.reconciliation",
    "Reconciliation": "analytics.reconciliation",
    "Replay": "analytics.replay",
    "Report": "model.report",
    "Reported": "model.reported",
    "Requirement": "analytics.hedge",
    "ReverseStress": "analytics.reverse_stress",
    "RuleDifference": "analytics.rule_difference",
    "Rules": "model.profile",
    "Runner": "engine.runner",
    "Runway": "analytics.funding",
    "SafetyBuffer": "analytics.stress",
    "Scenario": "model.scenario",
    "Sensitivity": "analytics.sensitivity",
    "SetBalance": "model.change",
    "SetLeverage": "model.change",
    "SetMarginMode": "model.change",
    "ShockThreshold": "model.report",
    "Side": "engine.columns",
    "Status": "engine.columns",
    "StoreError": "errors",
    "Threshold": "model.report",
    "Thresholds": "model.report",
    "Transfer": "model.change",
    "UnsupportedRule": "errors",
    "VenueError": "errors",
    "WhatIf": "analytics.whatif",
    "Withdraw": "model.change",
    "WorstCase": "analytics.stress",
    "WorstInBox": "analytics.box",
    "allocate": "analytics.allocation",
    "apply_changes": "analytics.whatif",
    "bars_from": "model.history",
    "best_hedge": "analytics.best_hedge",
    "book_from_arrow": "engine.interchange",
    "book_from_frames": "engine.interchange",
    "book_to_arrow": "engine.interchange",
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
    "entered": "analytics.replay",
    "estimate_covariance": "analytics.covariance",
    "evaluate": "analytics.questions",
    "frame": "apps.notebook",
    "frontier": "analytics.allocation",
    "funding": "analytics.funding",
    "heat_map": "analytics.stress",
    "hedge": "analytics.hedge",
    "historical_scenarios": "files.scenarios",
    "import_account": "files.unified",
    "ladder": "analytics.stress",
    "liquidate": "engine.liquidation",
    "liquidation_probability": "analytics.barrier",
    "load": "files.accounts",
    "load_bars": "files.history",
    "load_fund": "files.funds",
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
    "read_book": "engine.interchange",
    "read_payload_file": "files.unified",
    "reconcile": "analytics.reconciliation",
    "replay": "analytics.replay",
    "reported_from": "model.reported",
    "requirements": "analytics.hedge",
    "reverse_stress": "analytics.reverse_stress",
    "rule_difference": "analytics.rule_difference",
    "runway": "analytics.funding",
    "safety_buffer": "analytics.stress",
    "sensitivity": "analytics.questions",
    "show": "apps.notebook",
    "stress": "analytics.questions",
    "synthetic_book": "engine.synthetic",
    "systemic": "analytics.systemic",
    "threshold": "analytics.questions",
    "threshold_along": "analytics.threshold",
    "thresholds_of": "analytics.threshold",
    "to_json": "model.report",
    "to_plain": "model.report",
    "unload_ipython_extension": "apps.notebook",
    "whatif": "analytics.whatif",
    "worst_case": "analytics.stress",
    "worst_in_box": "analytics.box",
    "write_book": "engine.interchange",
}

__all__ = [
    "Account",
    "AccountError",
    "AssetRule",
    "Balance",
    "Bar",
    "Book",
    "BookReport",
    "BookSensitivity",
    "BookStress",
    "BookThresholds",
    "Cascade",
    "Case",
    "Chance",
    "ChangeRules",
    "Close",
    "CommandRejected",
    "Comparison",
    "Compiled",
    "Covariance",
    "Crossing",
    "CrossmarginError",
    "Curve",
    "Depeg",
    "Deposit",
    "Fault",
    "FrontierPoint",
    "Fund",
    "FundingOutlook",
    "FundingPayment",
    "HeatMap",
    "HedgeChoice",
    "HedgeEffect",
    "Imported",
    "InstrumentRule",
    "JournalError",
    "LeverageChoice",
    "Line",
    "Liquidated",
    "LiquidationProbability",
    "Market",
    "MarketDataError",
    "MaxOrder",
    "MaxWithdraw",
    "MissingExtra",
    "ModeChoice",
    "MovePrice",
    "NearestChance",
    "NeutralPair",
    "NoPlan",
    "OpenOrder",
    "Order",
    "Outcome",
    "PaidFunding",
    "Plan",
    "Pocket",
    "Position",
    "Prepared",
    "Prices",
    "Profile",
    "ProfileError",
    "Reason",
    "ReconciledFigure",
    "Reconciliation",
    "Replay",
    "Report",
    "Reported",
    "Requirement",
    "ReverseStress",
    "RuleDifference",
    "Rules",
    "Runner",
    "Runway",
    "SafetyBuffer",
    "Scenario",
    "Sensitivity",
    "SetBalance",
    "SetLeverage",
    "SetMarginMode",
    "ShockThreshold",
    "Side",
    "Status",
    "StoreError",
    "Threshold",
    "Thresholds",
    "Transfer",
    "UnsupportedRule",
    "VenueError",
    "WhatIf",
    "Withdraw",
    "WorstCase",
    "WorstInBox",
    "allocate",
    "apply_changes",
    "bars_from",
    "best_hedge",
    "book_from_arrow",
    "book_from_frames",
    "book_to_arrow",
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
    "entered",
    "estimate_covariance",
    "evaluate",
    "frame",
    "frontier",
    "funding",
    "heat_map",
    "hedge",
    "historical_scenarios",
    "import_account",
    "ladder",
    "liquidate",
    "liquidation_probability",
    "load",
    "load_bars",
    "load_fund",
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
    "read_book",
    "read_payload_file",
    "reconcile",
    "replay",
    "reported_from",
    "requirements",
    "reverse_stress",
    "rule_difference",
    "runway",
    "safety_buffer",
    "sensitivity",
    "show",
    "stress",
    "synthetic_book",
    "systemic",
    "threshold",
    "threshold_along",
    "thresholds_of",
    "to_json",
    "to_plain",
    "unload_ipython_extension",
    "whatif",
    "worst_case",
    "worst_in_box",
    "write_book",
]
__version__ = "0.1.0"

if TYPE_CHECKING:
    from crossmargin.analytics.allocation import FrontierPoint, Plan, allocate, frontier
    from crossmargin.analytics.allocation_chance import Chance
    from crossmargin.analytics.barrier import (
        LiquidationProbability,
        NearestChance,
        liquidation_probability,
        nearest_chance,
    )
    from crossmargin.analytics.best_hedge import HedgeChoice, best_hedge
    from crossmargin.analytics.book import BookReport, BookSensitivity, BookStress, BookThresholds
    from crossmargin.analytics.box import WorstInBox, worst_in_box
    from crossmargin.analytics.cascade import Cascade, cascade, cascades
    from crossmargin.analytics.comparison import Comparison, compare
    from crossmargin.analytics.compiled import Compiled, compile_scenarios
    from crossmargin.analytics.covariance import Covariance, correlated, covariance_of, estimate_covariance
    from crossmargin.analytics.curve import Curve, curve
    from crossmargin.analytics.funding import FundingOutlook, FundingPayment, Runway, funding, runway
    from crossmargin.analytics.hedge import HedgeEffect, NeutralPair, Requirement, hedge, neutral_pairs, requirements
    from crossmargin.analytics.limits import MaxOrder, MaxWithdraw, max_order, max_withdraw
    from crossmargin.analytics.questions import evaluate, sensitivity, stress, threshold
    from crossmargin.analytics.reconciliation import ReconciledFigure, Reconciliation, reconcile
    from crossmargin.analytics.replay import Replay, entered, replay
    from crossmargin.analytics.reverse_stress import ReverseStress, reverse_stress
    from crossmargin.analytics.rule_difference import RuleDifference, rule_difference
    from crossmargin.analytics.sensitivity import Sensitivity
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
        worst_case,
    )
    from crossmargin.analytics.systemic import systemic
    from crossmargin.analytics.threshold import threshold_along, thresholds_of
    from crossmargin.analytics.whatif import WhatIf, apply_changes, whatif
    from crossmargin.apps.notebook import frame, load_ipython_extension, show, unload_ipython_extension
    from crossmargin.engine.book import Book
    from crossmargin.engine.columns import Reason, Side, Status
    from crossmargin.engine.interchange import (
        book_from_arrow,
        book_from_frames,
        book_to_arrow,
        read_book,
        write_book,
    )
    from crossmargin.engine.liquidation import Liquidated, deleverage, liquidate, next_step
    from crossmargin.engine.pool import Prepared
    from crossmargin.engine.prepare import prepare
    from crossmargin.engine.prices import Prices
    from crossmargin.engine.reference import measure
    from crossmargin.engine.runner import Runner
    from crossmargin.engine.synthetic import synthetic_book
    from crossmargin.errors import (
        AccountError,
        CommandRejected,
        CrossmarginError,
        Fault,
        JournalError,
        MarketDataError,
        MissingExtra,
        NoPlan,
        ProfileError,
        StoreError,
        UnsupportedRule,
        VenueError,
    )
    from crossmargin.files.accounts import Case, case_from, load
    from crossmargin.files.funds import load_fund
    from crossmargin.files.history import load_bars
    from crossmargin.files.profiles import load_profile, profile_ids
    from crossmargin.files.scenarios import historical_scenarios, load_history, load_scenarios
    from crossmargin.files.unified import Imported, import_account, read_payload_file
    from crossmargin.model.account import Account, Balance, OpenOrder, Pocket, Position
    from crossmargin.model.brackets import AssetRule, InstrumentRule
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
    from crossmargin.model.fund import Fund, LeverageChoice, ModeChoice
    from crossmargin.model.history import Bar, bars_from
    from crossmargin.model.market import Market
    from crossmargin.model.payment import PaidFunding
    from crossmargin.model.profile import Profile, Rules
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
