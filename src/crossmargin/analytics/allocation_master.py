"""Under these straight lines, what is the best plan?

The linear programme (mixed-integer where lots, least amounts or fees for each use ask for it) that HiGHS solves. Rows
are only ever added; each belongs to a named limit, which can be taken out or, in the elastic form, broken at a price.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from crossmargin.errors import CrossmarginError, MissingExtra

Key = Hashable
"""The name of a column: a decision, its switch, a margin, the smallest headroom ..."""
_INFINITY = float("inf")
TOLERANCE = 1e-10
"""What the solver lets a row miss, in units of its size; a row must be tightened by more for the solver to see it."""


class Row(NamedTuple):
    """``lower <= sum of coefficients x columns <= upper``; ``limit``: its name, ``tag``: what may tighten it."""

    limit: str | None
    tag: Hashable
    coefficients: Mapping[Any, float]
    lower: float
    upper: float = _INFINITY
    size: float = 1.0
    """What the row is counted in, so that its figures are near 1."""
    note: str = ""
    """Where it was read: the scenario."""


@dataclass(frozen=True, slots=True)
class Solved:
    """The best point under the present rows. ``bound``: nothing is better (minimum)."""

    status: Literal["optimal", "infeasible", "unbounded"]
    values: Mapping[Key, float]
    objective: float
    bound: float


class Shadow(NamedTuple):
    """What a unit more of a row's bound, or of a fixed column, changes in the objective."""

    rows: list[tuple[Row, float]]
    columns: Mapping[Key, float]


def load_highs() -> Any:
    """The solver's module; raises :class:`MissingExtra` without it."""
    try:
        import highspy  # noqa: PLC0415 - only for who allocates
    except ImportError:
        raise MissingExtra("allocate", "needs highspy; install crossmargin[optimize]") from None
    return highspy


class Master:
    """The programme as it grows. Columns are counted in ``scale`` units each."""

    def __init__(self, *, elastic: bool = False, without: frozenset[str] = frozenset()) -> None:
        self._module = load_highs()
        # the class below Highs is the solver without callbacks; setting them up prints a greeting on standard output
        self._solver = self._module.Highs.__bases__[0]()
        for name, value in (
            ("output_flag", False),
            ("log_to_console", False),
            ("threads", 1),  # its workers wait by spinning, which a busy machine pays dearly for
            ("primal_feasibility_tolerance", TOLERANCE),
            ("dual_feasibility_tolerance", TOLERANCE),
            ("mip_feasibility_tolerance", TOLERANCE),
            ("mip_rel_gap", TOLERANCE),
            ("mip_abs_gap", TOLERANCE),
        ):
            self._solver.setOptionValue(name, value)
        self.elastic, self.without = elastic, without
        self._place: dict[Key, int] = {}
        self._scale: list[float] = []
        self._integer: list[int] = []
        self._rows: list[Row] = []
        self._tightened: dict[Hashable, float] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._place

    @property
    def is_integer(self) -> bool:
        """Whether some column is a whole number."""
        return bool(self._integer)

    def column(
        self,
        key: Key,
        *,
        lower: float = 0.0,
        upper: float = _INFINITY,
        cost: float = 0.0,
        scale: float = 1.0,
        integer: bool = False,
    ) -> None:
        """A new column; bounds and ``cost`` in real units."""
        index = len(self._scale)
        self._place[key] = index
        self._scale.append(scale)
        empty = np.array([], dtype=np.int32), np.array([], dtype=np.float64)
        self._solver.addCol(cost * scale, lower / scale, upper / scale, 0, *empty)
        if integer:
            self._integer.append(index)
            self._solver.changeColIntegrality(index, self._module.HighsVarType.kInteger)

    def price(self, key: Key, cost: float) -> None:
        """Another cost of a column, in real units."""
        self._solver.changeColCost(self._place[key], cost * self._scale[self._place[key]])

    def row(self, row: Row) -> None:
        """A new row; one of a limit that is left out is free."""
        terms = {self._place[k]: v * self._scale[self._place[k]] / row.size for k, v in row.coefficients.items() if v}
        if self.elastic and row.limit is not None:
            for sign, bound in ((1.0, row.lower), (-1.0, row.upper)):
                if abs(bound) < _INFINITY:
                    key = ("broken", row.limit)
                    if key not in self:
                        self.column(key, cost=1 / row.size, scale=row.size)
                    terms[self._place[key]] = sign * self._scale[self._place[key]] / row.size
        self._rows.append(row)
        lower, upper = self._bounds(row)
        self._solver.addRow(
            lower,
            upper,
            len(terms),
            np.fromiter(terms.keys(), dtype=np.int32, count=len(terms)),
            np.fromiter(terms.values(), dtype=np.float64, count=len(terms)),
        )

    def _bounds(self, row: Row) -> tuple[float, float]:
        if row.limit in self.without:
            return -_INFINITY, _INFINITY
        return (row.lower + self._tightened.get(row.tag, 0.0)) / row.size, row.upper / row.size

    def tighten(self, tag: Hashable, amount: float) -> None:
        """Ask more of every row of a tag, now and later, by an amount in its own unit."""
        self._tightened[tag] = self._tightened.get(tag, 0.0) + amount
        for index, row in enumerate(self._rows):
            if row.tag == tag:
                self._solver.changeRowBounds(index, *self._bounds(row))

    def solve(self) -> Solved:
        """Solve under the present rows. Raises :class:`CrossmarginError` where the solver gives up."""
        status, names = self._run(), self._module.HighsModelStatus
        if status == names.kOptimal:
            info, values = self._solver.getInfo(), self._solver.getSolution().col_value
            objective = float(info.objective_function_value)
            found = {key: values[index] * self._scale[index] for key, index in self._place.items()}
            return Solved("optimal", found, objective, float(info.mip_dual_bound) if self._integer else objective)
        if status == names.kUnboundedOrInfeasible:
            self._solver.setOptionValue("presolve", "off")
            status = self._run()
            self._solver.setOptionValue("presolve", "choose")
        verdicts: dict[Any, Literal["infeasible", "unbounded"]] = {
            names.kInfeasible: "infeasible",
            names.kUnbounded: "unbounded",
        }
        if status not in verdicts:
            raise CrossmarginError(
                "the solver", f"stopped without an answer ({status.name}); this is no fault of the fund"
            )
        return Solved(verdicts[status], {}, 0.0, 0.0)

    def _run(self) -> Any:
        """Run the solver; the model's status.

        Its threads are those of the whole process: where another library has made them already, in another number than
        ours, it refuses to run, and takes the number that is there.
        """
        if self._solver.run() == self._module.HighsStatus.kError:
            self._solver.setOptionValue("threads", 0)
            self._solver.run()
        return self._solver.getModelStatus()

    def shadow(self, solved: Solved) -> Shadow:
        """What each row and each fixed column is worth at a solution; whole numbers stay as they are."""
        kinds = self._module.HighsVarType
        kept = {index: solved.values[key] / self._scale[index] for key, index in self._place.items()}
        for index in self._integer:
            self._solver.changeColIntegrality(index, kinds.kContinuous)
            value = float(round(kept[index]))
            self._solver.changeColBounds(index, value, value)
        if self._integer:
            self._run()
        found = self._solver.getSolution()
        rows = [(row, found.row_dual[i] / row.size) for i, row in enumerate(self._rows) if found.row_dual[i]]
        columns = {key: found.col_dual[index] / self._scale[index] for key, index in self._place.items()}
        return Shadow(rows, columns)
