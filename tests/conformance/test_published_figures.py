"""Every published figure, within the last digit it was printed with."""

import pytest

from crossmargin.analytics.verification import verify
from crossmargin.files.conformance import ConformanceCase, conformance_files

CASES = [pytest.param(case, id=case.id) for file in conformance_files() for case in file.cases]


@pytest.mark.parametrize("case", CASES)
def test_case(case: ConformanceCase) -> None:
    checks = verify(*case.load(), case.expect, case.tolerance_of)
    wrong = [f"{c.figure}: published {c.expected}, ours {c.found}" for c in checks if not c.agrees]
    if case.reproduced:
        assert not wrong, "; ".join(wrong)
    else:
        # a case that suddenly agrees must lose its mark
        assert wrong, f"{case.id} is marked as not reproduced but agrees"


def test_there_are_many_figures() -> None:
    figures = sum(len(case.expect) for file in conformance_files() for case in file.cases if case.reproduced)
    assert figures >= 60
