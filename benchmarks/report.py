"""How long does the whole report page take, question by question? One account of 30 positions.

Run: python benchmarks/report.py [--write] (needs the plot extra). Medians of processor time; --write puts them into
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

from judge import account, write

import crossmargin as cm
from crossmargin.apps import story

TITLE = "## The report page (`python benchmarks/report.py --write`)"
POSITIONS = 30


def seconds(work: Callable[[], object]) -> float:
    """Median processor time of a call, of five after the first."""
    work()
    times = []
    for _ in range(5):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def rows() -> list[str]:
    """The whole page, then each question."""
    case = cm.case_from(account(POSITIONS), "benchmark")
    asked = story._Asked(case, cm.evaluate(*case), cm.threshold(*case), None)
    lines = ["| | processor time |", "|---|---|"]
    lines.append(f"| **the whole page of {POSITIONS} positions** | **{seconds(lambda: story.page(case)):.2f} s** |")
    for title, question in story._QUESTIONS.items():
        took = seconds(lambda question=question: list(question(asked)))
        lines.append(f"| {title} | {took * 1000:.0f} ms |")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/RESULTS.md")
    text = "\n".join(rows()) + "\n"
    sys.stdout.write(text)
    if parser.parse_args().write:
        write(text, TITLE)
