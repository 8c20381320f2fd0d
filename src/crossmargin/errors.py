"""The exceptions of crossmargin.

    CrossmarginError
      ProfileError      a rule file: file, key, value, why (all faults at once)
      AccountError      an account file or noun: field path, value, why
      MarketDataError   every price that is missing, not only the first
      UnsupportedRule   the profile asks for a kind that this question cannot answer
      NoPlan            no feasible allocation; carries the limits that conflict and the least change that helps
      CommandRejected   clearing: a command refused: code, why, what would be accepted
      JournalError      clearing: the journal cannot be written or read, or is not what it was
      StoreError        service: the store cannot be opened, written or read
      MissingExtra      an optional library that this door needs is not installed
      VenueError        a venue that refuses, limits or cannot be understood; a key that is not accepted here

A caller's mistake raises; a fault names the field and the remedy. Each class knows
the exit code of the command line (2 for bad input, 5 for missing data, 6 for a venue).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in one place: where (``path``), what was found (``value``), why and what is allowed."""

    path: str
    value: str
    why: str

    def __str__(self) -> str:
        """``path: why (found: value)``, the line a user reads."""
        found = f" (found: {self.value})" if self.value else ""
        return f"{self.path}: {self.why}{found}"


class CrossmarginError(Exception):
    """The root: carries ``where`` (a file, an account, a profile) and every :class:`Fault` found there."""

    exit_code = 1

    def __init__(self, where: str, faults: Iterable[Fault] | str) -> None:
        self.where = where
        self.faults: tuple[Fault, ...] = (Fault("", "", faults),) if isinstance(faults, str) else tuple(faults)
        super().__init__(self._text())

    def __reduce__(self) -> tuple[Any, ...]:
        """An error crosses processes as it is: the worker of a cluster reports what a caller would have seen."""
        return _as_it_was, (type(self), self.args, self.__dict__)

    def _text(self) -> str:
        if len(self.faults) == 1 and not self.faults[0].path:
            return f"{self.where}: {self.faults[0].why}"
        count = len(self.faults)
        return f"{self.where}: {count} fault{'s' if count > 1 else ''}\n" + "\n".join(f"  {f}" for f in self.faults)


def _as_it_was(kind: type[CrossmarginError], args: tuple[Any, ...], state: dict[str, Any]) -> CrossmarginError:
    found = kind.__new__(kind, *args)
    found.__dict__.update(state)
    return found


class ProfileError(CrossmarginError):
    """A rule profile that cannot be used; every fault of the file at once."""

    exit_code = 2


class AccountError(CrossmarginError):
    """An account that cannot be read or judged; every fault with its field path."""

    exit_code = 2


class MarketDataError(CrossmarginError):
    """Prices that the rules need and the market does not have; all of them."""

    exit_code = 5


class UnsupportedRule(CrossmarginError):  # noqa: N818 - the name says what it is; every sibling ends in Error
    """The profile asks for a rule that this question cannot answer exactly, so it is not answered."""

    exit_code = 2


class NoPlan(CrossmarginError):  # noqa: N818 - as above
    """No allocation meets every limit of a fund.

    ``conflict``: limits that cannot hold together, while without any one of them the rest can. ``relaxation``: the
    least change of limits, in money, that makes a plan possible, as limit and by how much.
    """

    exit_code = 3

    def __init__(self, where: str, conflict: Iterable[str], relaxation: Iterable[tuple[str, str]] = ()) -> None:
        self.conflict = tuple(conflict)
        self.relaxation = tuple(relaxation)
        faults = [Fault(name, "", "cannot hold together with the other limits named here") for name in self.conflict]
        faults += [Fault(name, by, "loosened by this much a plan exists") for name, by in self.relaxation]
        super().__init__(where, faults or "no plan exists")


class CommandRejected(CrossmarginError):  # noqa: N818 - as above
    """A command that the books refuse; it has changed nothing.

    ``code`` is one word of a closed list (:data:`crossmargin.clearing.commands.CODES`), ``accepted`` what would have
    been accepted instead, as plain figures by name.
    """

    exit_code = 3

    def __init__(self, where: str, code: str, why: str, accepted: Mapping[str, str] | None = None) -> None:
        self.code = code
        self.why = why
        self.accepted = dict(accepted or {})
        super().__init__(where, (Fault(code, "", why),))


class JournalError(CrossmarginError):
    """The journal of the books cannot be opened, written or read, or does not hold what was written to it."""

    exit_code = 1


class StoreError(CrossmarginError):
    """The store of the service cannot be opened, written or read."""

    exit_code = 1


class MissingExtra(CrossmarginError):  # noqa: N818 - as above
    """An optional library is not installed; says which extra brings it."""

    exit_code = 2


class VenueError(CrossmarginError):
    """A venue that cannot be reached, refuses, limits or answers nonsense; or a key that is not accepted here."""

    exit_code = 6
