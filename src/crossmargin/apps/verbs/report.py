"""``crossmargin report``: one self-contained page with every answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossmargin.apps.options import File, On, ProfileName, read_case, write_page


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def report(
        file: File,
        html: Annotated[Path, typer.Option("--html", metavar="OUT", help="Write the page to this file.")],
        history: Annotated[
            str | None,
            typer.Option(
                "--history",
                metavar="FILE",
                help="CSV of daily closes: date, then a column a coin; the covariance of the nearest liquidating move, "
                "which is assumed without it.",
            ),
        ] = None,
        profile: ProfileName = None,
        on: On = None,
    ) -> None:
        """Write one self-contained HTML page: what kills the account, curves, stress, funding, modes, cascade."""
        from crossmargin.apps.story import page
        from crossmargin.files.scenarios import load_history

        text = page(read_case(file, profile, on), history=None if history is None else load_history(history))
        write_page(html, text)
