"""A rule and its source: what every slot of a profile has in common."""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from crossmargin.errors import CrossmarginError, ProfileError
from crossmargin.model.noun import Noun

Status = Literal["documented", "observed", "assumed"]


class RuleNoun(Noun):
    """A noun of the law: its faults are the profile's."""

    error_class: ClassVar[type[CrossmarginError]] = ProfileError


class Source(RuleNoun):
    """Where a rule was read, when, and how sure it is."""

    title: str
    url: str = ""
    retrieved: date
    status: Status


def as_tuple(value: object) -> object:
    """One name where a list of names may stand."""
    return (value,) if isinstance(value, str) else value


SourceIds = Annotated[tuple[str, ...], BeforeValidator(as_tuple), Field(min_length=1)]


class Slot(RuleNoun):
    """One rule; ``source`` names entries of the profile's sources."""

    source: SourceIds
    note: str = ""
