"""Alert rules as data: what is watched, where it is too far, where it is well again, and who is told when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from crossmargin.errors import CrossmarginError, ProfileError
from crossmargin.model.noun import Noun
from crossmargin.model.number import parse_decimal

NEVER: Literal["never"] = "never"
"""A figure that no number can say and that is good news: no price liquidates the account, funding never ends it."""
Figure = Decimal | Literal["never"]

KindName = Literal[
    "level", "margin_ratio", "headroom", "distance", "sensitivity", "runway", "stale", "unknown", "rules",
    "reconciliation", "lag",
]  # fmt: skip
Severity = Literal["info", "warning", "critical"]


class Kind(NamedTuple):
    """One kind of rule: which side is harmful, its usual limit, how far back it must come, and its words.

    ``band``: the share of the limit that a figure must come back by before the alert clears. ``change``: the figure is
    compared with what it was (:class:`AlertRule`, ``window_seconds``), not with the limit as it stands.
    """

    harm: Literal["above", "below"]
    limit: Decimal | None
    band: Decimal
    severity: Severity
    words: str
    change: bool = False


_TENTH, _FIFTH, _NONE = Decimal("0.1"), Decimal("0.2"), Decimal(0)

KINDS: Mapping[KindName, Kind] = {
    "level": Kind("above", Decimal(1), _NONE, "critical", "the level reached (1 = warning, 2 = liquidation)"),
    "margin_ratio": Kind("above", None, _TENTH, "warning", "maintenance margin over equity, a fraction"),
    "headroom": Kind("below", None, _TENTH, "warning", "equity less maintenance margin, in the account's currency"),
    "distance": Kind("below", None, _FIFTH, "warning", "the nearest move that liquidates, a fraction"),
    "sensitivity": Kind(
        "above", Decimal("0.5"), _NONE, "info", "how much more a 1 % move costs than it did, a fraction", change=True
    ),
    "runway": Kind("below", None, _FIFTH, "warning", "hours that funding can be paid"),
    "stale": Kind("above", Decimal(60), _NONE, "critical", "age of the data in seconds"),
    "unknown": Kind("above", Decimal(1), _NONE, "critical", "figures that cannot be known"),
    "rules": Kind("above", Decimal(1), _NONE, "info", "the rules in force are others than before", change=True),
    "reconciliation": Kind("above", Decimal(1), _NONE, "warning", "figures that differ from the venue's own"),
    "lag": Kind("above", Decimal(5), _NONE, "critical", "seconds that the monitor itself is late"),
}
"""Every kind of rule. Harm is at the limit and beyond it."""

ALWAYS: tuple[KindName, ...] = ("stale", "unknown", "lag")
"""Kinds that are watched whether a rule names them or not: what is not known is never taken for healthy."""

MONITOR = "(monitor)"
"""The name under which the monitor watches itself."""

_LEVELS = {"warning": "1", "liquidation": "2"}


def _limit(value: Any) -> Any:
    return _LEVELS.get(value, value) if isinstance(value, str) else value


def _bounded(value: Decimal) -> Decimal:
    if abs(value) > Decimal(10) ** 15:
        raise ValueError("must lie between -10^15 and 10^15")
    return value


def _seconds(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be whole seconds")
    return value


Limit = Annotated[Decimal, BeforeValidator(lambda value: parse_decimal(_limit(value))), AfterValidator(_bounded)]
Seconds = Annotated[int, BeforeValidator(_seconds), Field(ge=0, le=7 * 86400)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Settings(Noun):
    """A noun of the monitor's configuration; its faults are a :class:`ProfileError`."""

    error_class: ClassVar[type[CrossmarginError]] = ProfileError


class Step(Settings):
    """One step of an escalation: so long after the alert, and unless somebody has acknowledged it, tell these."""

    after_seconds: Seconds = 0
    channels: tuple[Name, ...] = Field(min_length=1, max_length=20)


class AlertRule(Settings):
    """One rule.

    The alert is raised when the figure has been at or beyond ``limit`` for ``for_seconds``, and clears when it has been
    back on the good side of ``clear`` for ``clear_seconds``: between the two nothing changes, so it does not flap.
    ``clear`` is the kind's band away from the limit unless given. ``accounts``: names, with ``*`` for any.
    ``window_seconds`` (kinds that watch a change): how old the figure may become that is compared with, and how long
    the alert stands. ``escalation``: who is told when; empty = the alert is kept, and nobody is told.
    """

    id: Name
    kind: KindName
    limit: Limit | None = None
    clear: Limit | None = None
    for_seconds: Seconds = 0
    clear_seconds: Seconds = 0
    window_seconds: Seconds = 3600
    severity: Severity | None = None
    accounts: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = ("*",)
    escalation: tuple[Step, ...] = Field(default=(), max_length=10)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind = KINDS[self.kind]
        if self.limit is None and kind.limit is None:
            raise ValueError(f"limit: is missing; {self.kind} is {kind.words}")
        if self.clear is not None and (self.clear - self.raises_at) * (1 if kind.harm == "above" else -1) > 0:
            where = "at or below" if kind.harm == "above" else "at or above"
            raise ValueError(f"clear: must be {where} the limit, or the alert could never come to rest")
        delays = [step.after_seconds for step in self.escalation]
        if delays != sorted(delays):
            raise ValueError("escalation: must go from the first step to the last, by after_seconds")
        return self

    @property
    def raises_at(self) -> Decimal:
        """The limit, or the kind's own."""
        limit = self.limit if self.limit is not None else KINDS[self.kind].limit
        assert limit is not None
        return limit

    @property
    def clears_at(self) -> Decimal:
        """The clear-limit, or the limit and the kind's band."""
        if self.clear is not None:
            return self.clear
        away = abs(self.raises_at) * KINDS[self.kind].band
        return self.raises_at - away if KINDS[self.kind].harm == "above" else self.raises_at + away

    def harmful(self, figure: Figure, limit: Decimal | None = None) -> bool:
        """Whether a figure is at the limit (or another one) or beyond."""
        if figure == NEVER:
            return False
        at = self.raises_at if limit is None else limit
        return figure >= at if KINDS[self.kind].harm == "above" else figure <= at

    def well(self, figure: Figure) -> bool:
        """Whether a figure is so far back that an alert may clear: beyond the clear-limit, on the good side."""
        if self.clears_at == self.raises_at:
            return not self.harmful(figure)
        return not self.harmful(figure, self.clears_at)

    def watches(self, account: str, scope: Sequence[KindName] | None = None) -> bool:
        """Whether the rule is about an account, of which its source answers the kinds of ``scope`` (None = all)."""
        return (
            (scope is None or self.kind in scope)
            and (account == MONITOR) == (self.kind == "lag")
            and (account == MONITOR or any(fnmatchcase(account, pattern) for pattern in self.accounts))
        )

    @property
    def weight(self) -> Severity:
        """How bad it is: as the rule says, or as its kind is."""
        return self.severity or KINDS[self.kind].severity


def with_always(rules: Sequence[AlertRule], channels: Sequence[str]) -> tuple[AlertRule, ...]:
    """The rules, and one on every account for each kind of :data:`ALWAYS` that is not watched on all of them.

    A rule without an escalation tells every channel at once.
    """
    covered = {rule.kind for rule in rules if "*" in rule.accounts or rule.kind == "lag"}
    taken = {rule.id for rule in rules}
    names = {kind: kind if kind not in taken else f"{kind}-always" for kind in ALWAYS}
    added = [AlertRule(id=names[kind], kind=kind) for kind in ALWAYS if kind not in covered]
    everybody = (Step(channels=tuple(channels)),) if channels else ()
    return tuple(r if r.escalation else r.model_copy(update={"escalation": everybody}) for r in [*rules, *added])


# what is seen ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One account as it was found.

    ``as_of``: the moment its data is of (None where nothing could be read). ``figures``: by kind; one that is missing
    was not asked for. ``words``: by kind, what a person wants to read beside the figure. ``unknown``: by kind, why a
    figure cannot be known; one that has a figure too is at least as bad as that. ``rules``: the fingerprint of the
    rules it was judged by. ``problem``: why nothing could be read. ``scope``: the kinds that its source answers at all
    (None = every one). ``gone``: the account is no longer watched.
    """

    account: str
    as_of: datetime | None
    figures: Mapping[str, Figure]
    words: Mapping[str, str]
    unknown: Mapping[str, str]
    rules: str | None = None
    currency: str | None = None
    equity: Decimal | None = None
    maintenance_margin: Decimal | None = None
    problem: str | None = None
    scope: tuple[KindName, ...] | None = None
    gone: bool = False
