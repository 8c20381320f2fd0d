"""The article's accounts and a few more, to look at before one's own: the files of ``examples/``, shipped along."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

_TITLES = {
    "article-2.1-cross": "Article 2.1, cross: both positions share one pool",
    "article-2.1-isolated": "Article 2.1, isolated: each position stands alone",
    "article-3.1": "Article 3.1: a loss uses up the other position's margin",
    "unified-btc-collateral": "Unified: BTC as collateral",
    "delta-neutral-pair": "Delta-neutral pair: hedged in price, not in margin",
}


def examples() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each account as its id, its title, and the keys of its file."""
    from crossmargin.files.accounts import read_table
    from crossmargin.model.report import to_plain

    for name, title in _TITLES.items():
        yield name, title, to_plain(read_table(str(_folder() / f"{name}.toml"))[0])


def _folder() -> Path:
    """In an installed package they lie inside it, in a checkout at the root."""
    package = Path(str(resources.files("crossmargin")))
    inside = package / "apps" / "example_accounts"
    return inside if inside.is_dir() else package.parents[1] / "examples"
