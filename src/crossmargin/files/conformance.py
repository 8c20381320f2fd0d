"""Conformance cases: what a venue or a peer published, restated as an account file and the figures it must give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from crossmargin.errors import Fault, ProfileError
from crossmargin.files.accounts import Case, case_from
from crossmargin.files.text import parse_table, read_bytes
from crossmargin.model.noun import faults_of
from crossmargin.model.number import NonNegative
from crossmargin.model.source import RuleNoun


class CaseSource(RuleNoun):
    """Where the figures were published."""

    title: str
    url: str = ""


class ConformanceCase(RuleNoun):
    """One published account or example. ``expect`` maps figure paths to what was published.

    ``tolerance`` is absolute; without it, one unit of the last printed digit of each figure.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    title: str
    profile: str
    source: CaseSource
    status: Literal["official", "observed", "third-party", "textbook"]
    given: dict[str, Any]
    expect: dict[str, str] = Field(min_length=1)
    tolerance: NonNegative | None = None
    reproduced: bool = True
    reason: str = ""

    @model_validator(mode="after")
    def _honest(self) -> ConformanceCase:
        if self.reproduced is bool(self.reason):
            raise ValueError("reason: a case that is not reproduced needs one, and only such a case has one")
        return self

    def load(self) -> Case:
        """The account, market and rules of the case."""
        return case_from(self.given, f"case {self.id}", profile=self.profile)

    def tolerance_of(self, figure: str) -> Decimal:
        """The tolerance of one expected figure: as stated, else one unit of its last printed digit."""
        if self.tolerance is not None:
            return self.tolerance
        return Decimal(1).scaleb(int(Decimal(figure).as_tuple().exponent))


@dataclass(frozen=True, slots=True)
class ConformanceFile:
    """One file of cases."""

    name: str
    cases: tuple[ConformanceCase, ...]


def _folder() -> Path:
    inside = Path(str(resources.files("crossmargin") / "conformance"))
    # installed, the cases lie in the package; in a checkout, beside src
    return inside if inside.is_dir() else Path(str(resources.files("crossmargin"))).parents[1] / "conformance"


def conformance_files(folder: str | None = None) -> Iterator[ConformanceFile]:
    """Every conformance file, by name. Raises :class:`ProfileError` with every fault of a file."""
    seen: dict[str, str] = {}
    for path in sorted((Path(folder) if folder else _folder()).glob("*.toml")):
        raw = parse_table(read_bytes(str(path), ProfileError), path.name, ProfileError, form="toml")
        faults: list[Fault] = []
        cases = []
        for index, entry in enumerate(raw.get("cases", [])):
            try:
                case = ConformanceCase.model_validate(entry)
            except ValidationError as error:
                faults += faults_of(error, f"cases[{index}] {entry.get('id', '')}")
                continue
            if case.id in seen:
                faults.append(Fault(f"cases[{index}].id", case.id, f"stands in {seen[case.id]} already"))
            seen[case.id] = path.name
            cases.append(case)
        if faults:
            raise ProfileError(path.name, faults)
        yield ConformanceFile(path.stem, tuple(cases))
