"""What is answered: the schema of each question's answer, made of the very types that the answers are."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, TypeAdapter, with_config
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from typing_extensions import TypedDict

from crossmargin.analytics.allocation import FrontierPoint, Outline, Plan
from crossmargin.analytics.barrier import LiquidationProbability
from crossmargin.analytics.best_hedge import HedgeChoice
from crossmargin.analytics.box import WorstInBox
from crossmargin.analytics.cascade import Cascade
from crossmargin.analytics.comparison import Comparison
from crossmargin.analytics.funding import FundingOutlook
from crossmargin.analytics.hedge import HedgeEffect, NeutralPair, Requirement
from crossmargin.analytics.limits import MaxOrder, MaxWithdraw
from crossmargin.analytics.replay import Run
from crossmargin.analytics.reverse_stress import ReverseStress
from crossmargin.analytics.sensitivity import Sensitivity
from crossmargin.analytics.stress import Depeg, HeatMap, Outcome, SafetyBuffer, WorstCase
from crossmargin.analytics.whatif import WhatIf
from crossmargin.apps.questions import ShockedThresholds
from crossmargin.apps.server.bodies import ANSWER, REFERENCE
from crossmargin.model.report import Crossing, Line, Report, Thresholds

_CLOSED = with_config(ConfigDict(extra="forbid"))


@_CLOSED
class Explained(TypedDict):
    """The tree of figures, and the sources that its lines name."""

    lines: tuple[Line, ...]
    sources: dict[str, dict[str, str]]


@_CLOSED
class Stressed(TypedDict):
    """What was asked of market moves."""

    outcomes: NotRequired[tuple[Outcome, ...]]
    heat_map: NotRequired[HeatMap]
    box: NotRequired[WorstInBox]
    worst_case: NotRequired[WorstCase]
    safety_buffer: NotRequired[SafetyBuffer]
    depeg: NotRequired[tuple[Depeg, ...]]


@_CLOSED
class ReverseStressed(TypedDict):
    """The nearest plausible move, and how likely one is within a horizon."""

    reverse_stress: ReverseStress
    probability: NotRequired[LiquidationProbability]


@_CLOSED
class HedgeChoices(TypedDict):
    """Hedges that restore a target."""

    choices: tuple[HedgeChoice, ...]


@_CLOSED
class HedgeNeeds(TypedDict):
    """What each position needs, and which pairs are neutral."""

    requirements: tuple[Requirement, ...]
    pairs: tuple[NeutralPair, ...]


@_CLOSED
class Cascades(TypedDict):
    """A walk for each set of rules."""

    cascades: tuple[Cascade, ...]


@_CLOSED
class Replayed(TypedDict):
    """A run for each set of rules and each mode."""

    runs: tuple[Run, ...]


@_CLOSED
class Frontier(TypedDict):
    """A plan for each buffer."""

    frontier: tuple[FrontierPoint, ...]


TYPES: dict[str, Any] = {
    "evaluate": Report,
    "threshold": ShockedThresholds | Thresholds,
    "explain": Explained,
    "stress": Stressed,
    "reverse-stress": ReverseStressed,
    "sensitivity": Sensitivity,
    "runway": FundingOutlook,
    "hedge": HedgeEffect | HedgeChoices | HedgeNeeds,
    "whatif": WhatIf,
    "compare": Comparison,
    "max-order": MaxOrder,
    "max-withdraw": MaxWithdraw,
    "cascade": Cascades,
    "replay": Replayed,
    "allocate": Plan | Outline | Frontier,
}
"""The type of each question's answer, or those it may have."""


class _Schemas(GenerateJsonSchema):
    """Types as :func:`crossmargin.model.report.to_json` writes them."""

    def decimal_schema(self, schema: Any) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}

    def dataclass_schema(self, schema: Any) -> JsonSchemaValue:
        made = super().dataclass_schema(schema)
        # whatever a result may leave at its default is written too, but for the one type that leaves out what is None
        made["required"] = ["kind"] if schema["cls"] is Crossing else list(made["properties"])
        return {**made, "additionalProperties": False}


def answers() -> dict[str, Any]:
    """The schemas of every answer, by name: ``Answer.`` and the question, then the types they are made of."""
    mode: Literal["serialization"] = "serialization"
    asked = [(name, mode, TypeAdapter(kind)) for name, kind in TYPES.items()]
    found, shared = TypeAdapter.json_schemas(
        asked, ref_template=REFERENCE + ANSWER + "{model}", schema_generator=_Schemas
    )
    made = {ANSWER + name: schema for (name, _), schema in found.items()}
    return made | {ANSWER + name: schema for name, schema in shared.get("$defs", {}).items()}
