"""What the monitor's tests share: a clock that is set, a source that is told, work that is done on the spot."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings

import crossmargin as cm
from crossmargin.apps.monitor.observe import Seen

HOUSE = settings(derandomize=True, deadline=None, max_examples=100, database=None)
T0 = datetime(2026, 11, 20, 8, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


class Time:
    """The present, as a test sets it."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class AtOnce(Executor):
    """Does what it is given when it is given it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


class Told:
    """A source that gives what a test has put there."""

    every_seconds = 0

    def __init__(self, *names: str) -> None:
        self.names = set(names) or {"a"}
        self.next: Sequence[Seen] | None = None
        self.closed = False

    def poll(self, at: datetime) -> Sequence[Seen] | None:
        found, self.next = self.next, None
        return found

    def adopt(self, accounts: Collection[str]) -> set[str]:
        return self.names & set(accounts)

    def close(self) -> None:
        self.closed = True


def account(mark: str, *, at: datetime = T0, quantity: str = "1", wallet: str = "10000") -> cm.Case:
    """Long one BTC from 60,000 on 10,000 USDT at a maintenance rate of 0.5 %."""
    return cm.case_from(
        {
            "profile": "plain-cross",
            "as_of": at.isoformat().replace("+00:00", "Z"),
            "balances": {"USDT": wallet},
            "positions": [{"symbol": "BTC/USDT:USDT", "quantity": quantity, "entry_price": "60000", "leverage": "10"}],
            "market": {"mark_price": {"BTC/USDT:USDT": mark}},
            "instruments": [
                {"symbol": "BTC/USDT:USDT", "brackets": [{"notional_floor": "0", "maintenance_rate": "0.005"}]}
            ],
        },
        "test",
    )


def seen(mark: str, *, name: str = "a", at: datetime = T0, **given: Any) -> Seen:
    return Seen(name, account(mark, at=at, **given), at)
