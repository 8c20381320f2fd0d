"""An answer with any one field damaged is read or refused with a message, never read as what it does not say."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crossmargin.errors import CrossmarginError
from crossmargin.files.tier_tables import read_collateral, read_tiers
from crossmargin.files.unified import Imported, import_account, read_payload_file

FOLDER = Path(__file__).parents[1] / "payloads"
FILES = [read_payload_file(str(path)) for path in sorted(FOLDER.glob("*.json"))]
ACCOUNTS = [
    {**file, **account} for file in FILES for account in file.get("accounts", [file])[:1] if "refused" not in file
]
JUNK = [None, "", "NaN", "-", [], {}, "9" * 50, "1e400", -1, "0", True, "<html>", [[]], [None], {"a": []}, 1.5]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything inside an answer."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _places(item, (*path, key))


def _damaged(answers: Any, path: tuple[Any, ...], junk: Any, *, remove: bool) -> Any:
    found = copy.deepcopy(answers)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if remove and isinstance(inner, dict):
        del inner[path[-1]]
    else:
        inner[path[-1]] = junk
    return found


@st.composite
def _cases(draw: st.DrawFn) -> tuple[dict[str, Any], Any, tuple[Any, ...], bool]:
    account = draw(st.sampled_from(ACCOUNTS))
    path = draw(st.sampled_from(list(_places(account["answers"]))))
    return account, draw(st.sampled_from(JUNK)), path, draw(st.booleans())


def _read(account: dict[str, Any], answers: Any) -> Imported | None:
    try:
        return import_account(
            answers,
            venue=account.get("venue"),
            fragments=[account["with"]] if "with" in account else [],
            settings=account.get("set", []),
        )
    except CrossmarginError as error:
        assert error.faults[0].why
        return None


@given(_cases())
def test_a_damaged_answer_is_read_or_refused_and_makes_no_number_up(
    case: tuple[dict[str, Any], Any, tuple[Any, ...], bool],
) -> None:
    account, junk, path, remove = case
    whole = _read(account, account["answers"])
    found = _read(account, _damaged(account["answers"], path, junk, remove=remove))
    assert whole is not None
    if found is None:
        return
    sizes = {position["quantity"].lstrip("-") for position in whole.table.get("positions", ())}
    for position in found.table.get("positions", ()):
        # a size that was said, or the one that was put in its place; never one that is filled in
        assert position.get("quantity", "1").lstrip("-") in sizes | {"1", "1.5"}
    if "positions" in found.table and not found.missing:
        assert {position["symbol"] for position in found.table["positions"]} <= set(found.table["market"]["mark_price"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "data",
                        "result",
                        "list",
                        "symbol",
                        "positions",
                        "assets",
                        "brackets",
                        "info",
                        "BTC/USDT:USDT",
                        "code",
                        "universe",
                        "details",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_anything_at_all_is_read_or_refused(value: Any) -> None:
    json.dumps(value)
    for read in (lambda v: import_account([v]), lambda v: read_tiers(v, "x"), lambda v: read_collateral(v, "x")):
        try:
            read(value)
        except CrossmarginError:
            continue
