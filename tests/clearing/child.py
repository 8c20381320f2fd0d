"""A process of the tests that serves a journal, in a module of its own: whoever starts it has little to load."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection

from crossmargin.apps.verbs import clearing


def serve(where: str, source: Connection, target: Connection) -> None:
    """Answers as ``clearing serve-stdin`` does, on two pipes."""
    with open(source.fileno()) as sys.stdin, open(target.fileno(), "w") as sys.stdout:  # noqa: PTH123 - file numbers
        clearing.serve_stdin(where)
