"""Accounts that venues reported, from their own answers through import and reconcile, each with its known outcome.

The files of tests/payloads restate facts and figures of recorded answers in the venue's own shape. ``expect`` is the
outcome of each figure: equal (to the last printed digit), within tolerance, unknown, or ``differs: cause``.
"""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import crossmargin as cm
from crossmargin.analytics.reconciliation import Reconciliation, reconcile
from crossmargin.files.profiles import load_profile
from crossmargin.files.unified import VENUES, Imported, import_account, read_payload_file

FOLDER = Path(__file__).parents[1] / "payloads"
FILES = sorted(FOLDER.glob("*.json"))


def _accounts(path: Path) -> Iterator[dict[str, Any]]:
    """The accounts of a file: one, or several that share its settings."""
    file = read_payload_file(str(path))
    for account in file.get("accounts", [file]):
        yield {**file, **account, "set": [*file.get("set", []), *(account["set"] if account is not file else [])]}


def _imported(account: dict[str, Any]) -> Imported:
    return import_account(
        account["answers"],
        venue=account.get("venue"),
        fragments=[account["with"]] if "with" in account else [],
        settings=account["set"],
    )


def _reconciled(imported: Imported) -> Reconciliation:
    case, unfounded = imported.partial_case()
    return reconcile(
        *case,
        imported.reported,
        lacking=imported.lacking,
        unfounded=unfounded,
        other_rules=load_profile(case.account.profile).revisions,
        payments=imported.payments,
    )


def _numbers(value: Any) -> Iterator[Decimal]:
    """Every number that stands in an answer."""
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        try:
            yield abs(Decimal(str(value).replace(",", "")))
        except ArithmeticError:
            return


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_recorded_account_reconciles_as_it_is_known_to(path: Path) -> None:
    for account in _accounts(path):
        imported = _imported(account)
        assert imported.table["profile"] == account["profile"]
        assert imported.not_understood == ()
        found = _reconciled(imported)
        outcome = {row.figure: row.verdict.replace("_", " ") for row in found.figures}
        expected = account["expect"]
        assert outcome == {figure: text.partition(":")[0] for figure, text in expected.items()}
        for row in found.figures:
            cause = expected[row.figure].partition(": ")[2]
            assert (row.cause or "").startswith(cause), row.figure


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_called_equal_is_a_number_of_the_answer_met_to_its_last_digit(path: Path) -> None:
    for account in _accounts(path):
        printed = set(_numbers(account["answers"]))
        for row in _reconciled(_imported(account)).figures:
            if row.theirs is None:
                continue
            assert abs(row.theirs) in printed, row.figure
            if row.verdict == "equal":
                assert row.ours is not None
                digits = len(format(row.theirs, "f").partition(".")[2])
                # beyond 15 significant digits a venue prints its binary floats
                noise = abs(row.theirs) * Decimal("1e-14")
                assert abs(row.ours - row.theirs) <= max(Decimal(1).scaleb(-digits), noise), row.figure


def test_the_recorded_accounts_cover_what_venues_report() -> None:
    figures = [f for path in FILES for account in _accounts(path) for f in account.get("expect", {})]
    outcomes = [text for path in FILES for account in _accounts(path) for text in account.get("expect", {}).values()]
    assert len(figures) > 150
    for kind in ("liquidation_price", "maintenance_margin", "initial_margin", "equity", "collateral_value", "coverage"):
        assert any(figure.endswith(kind) for figure in figures), kind
    assert sum(text == "equal" for text in outcomes) > 0.6 * len(outcomes)


@pytest.mark.parametrize("name", ["hyperliquid-cross-sol-short-eth-long", "bybit-xrp-uta", "gate-ltc-isolated"])
def test_an_imported_account_file_reads_back_and_reconciles_the_same(name: str, tmp_path: Path) -> None:
    """The account file holds all that the answers said: written, read back, it gives the same outcomes."""
    from crossmargin.files.accounts import read_table
    from crossmargin.model.reported import reported_from

    (account,) = _accounts(FOLDER / f"{name}.json")
    imported = _imported(account)
    path = tmp_path / "account.toml"
    path.write_text(imported.toml())
    case = cm.load(str(path))
    assert case.account == imported.case().account
    assert case.market == imported.case().market
    reported = reported_from(read_table(str(path))[0]["reported"], "account.toml")
    again = reconcile(*case, reported, lacking=imported.lacking)
    assert {row.figure: row.verdict for row in again.figures} == {
        row.figure: row.verdict for row in _reconciled(imported).figures
    }


def test_every_recorded_account_is_here() -> None:
    """Seventy-six readings, among them a position on borrowed coins and a list of funding payments."""
    assert len(FILES) == 76


@pytest.mark.parametrize("profile", sorted(set(VENUES.values())))
def test_the_profile_that_counts_for_a_venue_is_there(profile: str) -> None:
    assert load_profile(profile).id == profile


def test_every_file_names_where_its_figures_are_from() -> None:
    for path in FILES:
        assert len(json.loads(path.read_text())["source"]) > 20
