"""A few random venues in every run of the suite; ``./dev simulate 1000`` runs as many as are wanted."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache

import pytest
from simulate import FEATURES, NAMES, SCENES, STEPS, Books, Run, Venue, coverage, fails, run, shrunk
from world import World, instrument

from crossmargin.clearing.commands import canonical

SEEDS = range(12)


@cache
def done(seed: int) -> Run:
    return run(seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_after_every_command(seed: int) -> None:
    assert done(seed).wrong == ""
    assert done(seed).commands > STEPS


def test_the_runs_are_broad() -> None:
    """Each of these happens somewhere in a few runs, or the simulator proves less than it says."""
    assert {done(seed).scene for seed in SEEDS} == set(SCENES)
    shares = coverage([done(seed) for seed in SEEDS])
    assert {name for name, share in shares.items() if not share} <= {"partial liquidation", "depeg"}
    assert set(shares) == set(FEATURES)
    seen = set().union(*(done(seed).seen for seed in SEEDS))
    for what in (
        "place_order", "place_order refused", "fill", "cancel_order", "withdraw", "withdraw refused", "transfer",
        "transfer refused", "mark refused", "set_margin_mode", "set_leverage", "settle_funding", "halt", "resume",
        "liquidate_step", "pro_rata", "insurance_fund", "auto_deleverage", "loss shared", "take_over",
        "pocket released", "bonus granted", "interest",
    ):  # fmt: skip
        assert what in seen, what


def test_a_seed_is_one_run() -> None:
    assert run(3, steps=30) == run(3, steps=30)


def test_a_failure_is_shrunk_to_the_commands_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A book that forgets a quantum of every withdrawal: start, rules, account, deposit and withdrawal are enough."""
    venue = Venue(SCENES["plain-isolated"], 1)
    venue.begin()
    for name in NAMES:
        venue.both("withdraw", account=name, asset="USDT", amount="1")
    right = Books.apply

    def wrong(self: Books, line: str, *, thorough: bool = False) -> object:
        events = right(self, line, thorough=thorough)
        assert '"why":"withdrawal"' not in canonical(events), "a quantum is gone"
        return events

    monkeypatch.setattr(Books, "apply", wrong)
    few = shrunk(venue.books.wire)
    assert str(fails(few)).startswith("AssertionError: a quantum is gone")
    assert [json.loads(line)["kind"] for line in few] == [
        "start",
        "change_rules",
        "open_account",
        "deposit",
        "withdraw",
    ]


def test_a_decimal_is_never_a_float_on_its_way() -> None:
    world = World(default_quantum="0.000000000000000001")
    world.rules(instrument("BTC/USDT:USDT"))
    amount = "0.100000000000000001"
    world.open("a", USDT=amount)
    world.do("deposit", account="a", asset="USDT", amount=amount)
    assert world.held("a") == Decimal("0.200000000000000002")
