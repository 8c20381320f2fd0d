"""The loop: sources are asked, readings judged, what happened written in one transaction, then sent by others.

A round never waits for anybody: sources are read by threads of their own and their results taken when they are there;
messages are sent by the outbox. Time is :class:`Clock`'s, which a change of the host's clock does not move.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from crossmargin.apps.monitor.channels import LOG
from crossmargin.apps.monitor.judge import AccountState, Event, acknowledged, judge, quiet_until
from crossmargin.apps.monitor.observe import Seen, observe
from crossmargin.apps.monitor.rules import MONITOR, AlertRule, KindName, Reading
from crossmargin.apps.monitor.sources import Source
from crossmargin.apps.store.monitoring import Delivery, Monitoring, Step
from crossmargin.errors import CrossmarginError


def _elapsed() -> float:
    """Seconds of a clock that never goes back and, where the system has one, runs on while the host sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


_FIRST = timedelta(seconds=10)
"""What a source has at least for its first reading, before an account that nobody has read is an alert."""


class Clock:
    """The time of the monitor: the host's at the start, from then on by what has elapsed; it never goes back."""

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = _elapsed,
    ) -> None:
        self._start = wall()
        self._elapsed = elapsed
        self._zero = elapsed()

    def __call__(self) -> datetime:
        """Now."""
        return self._start + timedelta(seconds=self._elapsed() - self._zero)

    def reach(self, at: datetime | None) -> None:
        """Go on from a moment at the earliest: an earlier run has been there, by a host's clock that was ahead."""
        if at is not None and (ahead := at - self()) > timedelta(0):
            self._start += ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did: accounts judged, what happened to alerts, and the deliveries that are to be made."""

    at: datetime
    judged: int
    events: tuple[Event, ...]
    deliveries: tuple[Delivery, ...]


class Monitor:
    """Accounts, watched. One thread calls :meth:`round`; nothing in it waits.

    ``executor`` reads the sources; ``history_seconds``: how often a reading is kept while nothing happens.
    """

    def __init__(
        self,
        monitoring: Monitoring,
        sources: Mapping[str, Source],
        rules: Sequence[AlertRule],
        *,
        executor: Executor,
        now: Callable[[], datetime],
        history_seconds: int = 60,
    ) -> None:
        self.monitoring = monitoring
        self.sources = dict(sources)
        self.now = now
        self.states = monitoring.states()
        self._executor = executor
        self._history = timedelta(seconds=history_seconds)
        self._kept: dict[str, datetime] = {}
        self._running: dict[str, Future[Sequence[Reading] | None]] = {}
        self._due: dict[str, datetime] = {}
        self._first: dict[str, datetime] = {}
        self._expected: datetime | None = None
        self.rules: tuple[AlertRule, ...] = ()
        self._quiet: dict[str, datetime | None] = {}
        self._orphans = set(self.states) - {MONITOR}
        for name, source in self.sources.items():
            self._orphans -= source.adopt(self._orphans)
            # a source that never answers is an account that nobody has read
            self.states.setdefault(name, AccountState(account=name))
        self.change_rules_to(rules)

    def change_rules_to(self, rules: Sequence[AlertRule]) -> None:
        """Judge by these rules from the next round on; where they ask for other figures, everything is read again."""
        if tuple(rules) == self.rules:
            return
        asked = {rule.kind for rule in rules} - {rule.kind for rule in self.rules}
        if asked and self.rules:
            for source in self.sources.values():
                source.forget()
        self.rules = tuple(rules)
        self.kinds: frozenset[KindName] = frozenset(rule.kind for rule in rules)
        self._quiet.clear()

    # one round -------------------------------------------------------------------------------------------------------

    def round(self, *, period: float = 1.0, wait: bool = False) -> Round:
        """Take what the sources have found, judge, write what happened. ``period``: seconds between rounds.

        An account is judged when something new of it has come, or when time alone may do something to it. ``wait`` for
        every source, for a single round.
        """
        at = self.now()
        readings = self._readings(at, wait=wait)
        readings[MONITOR] = self._own_reading(at, period)
        self._acknowledge()
        return self.take(readings, at)

    def take(self, readings: Mapping[str, Reading], at: datetime) -> Round:
        """Judge these readings, and every account whose time has come."""
        steps = []
        for name in [*readings, *(name for name in self._restless(at) if name not in readings)]:
            before = self.states.get(name, AccountState(account=name))
            reading = readings.get(name)
            after, events = judge(self.rules, before, reading, at)
            self.states[name] = after
            self._quiet[name] = quiet_until(self.rules, after)
            keep = reading is not None and name != MONITOR and self._to_be_kept(name, at, happened=bool(events))
            moved = after.as_of != before.as_of and name != MONITOR
            if events or keep or moved or after.rules != before.rules:
                steps.append(Step(after, events, reading if keep else None))
        made = self._write(steps, at) if steps else []
        for name in [name for name, reading in readings.items() if reading.gone]:
            self.states.pop(name, None)
            self._quiet.pop(name, None)
        happened = tuple(event for step in steps for event in step.events)
        return Round(at=at, judged=len(readings), events=happened, deliveries=tuple(made))

    def _restless(self, at: datetime) -> list[str]:
        """The accounts to which time alone may do something."""
        found = []
        for name, state in self.states.items():
            if state.at is None and at < self._first.get(name, at):
                continue  # its first reading is not due yet: it is neither known nor late
            if name not in self._quiet:
                self._quiet[name] = quiet_until(self.rules, state)
            until = self._quiet[name]
            if until is not None and until <= at:
                found.append(name)
        return found

    def _write(self, steps: Sequence[Step], at: datetime) -> list[Delivery]:
        """Write, or forget what was not written: the next round judges again from what the store holds."""
        try:
            return self.monitoring.commit(steps, at)
        except CrossmarginError:
            self.states = self.monitoring.states()
            self._quiet.clear()
            raise

    def _to_be_kept(self, name: str, at: datetime, *, happened: bool) -> bool:
        last = self._kept.get(name)
        if not happened and last is not None and at - last < self._history:
            return False
        self._kept[name] = at
        return True

    def _acknowledge(self) -> None:
        """Take over what people have acknowledged in the store."""
        seen = self.monitoring.acknowledgements()
        for name, state in self.states.items() if seen else ():
            for own in state.rules.values():
                if own.alert and own.alert.id in seen and own.alert.acknowledged_at is None:
                    self.states[name] = acknowledged(self.states[name], own.alert.id, *seen[own.alert.id])

    # sources ---------------------------------------------------------------------------------------------------------

    def _readings(self, at: datetime, *, wait: bool) -> dict[str, Reading]:
        """What has been read since the last round; sources that are due are asked again."""
        for name, source in self.sources.items():
            if name not in self._running and (wait or self._due.get(name, at) <= at):
                self._due[name] = at + timedelta(seconds=source.every_seconds)
                self._first.setdefault(name, max(self._due[name], at + _FIRST))
                self._running[name] = self._executor.submit(_read, source, name, at, self.kinds)
        found = {name: observe(Seen(name, None, None, gone=True), ()) for name in self._orphans}
        self._orphans = set()
        for name in [name for name, future in self._running.items() if wait or future.done()]:
            for reading in self._running.pop(name).result() or ():
                found[reading.account] = reading
        return found

    def _own_reading(self, at: datetime, period: float) -> Reading:
        """The monitor seen as an account: how late this round is."""
        late = Decimal(0)
        if self._expected is not None and at > self._expected:
            late = Decimal((at - self._expected) // timedelta(milliseconds=1)) / 1000
        self._expected = at + timedelta(seconds=period)
        words = {"lag": f"a round came {late} seconds late"}
        return Reading(account=MONITOR, as_of=at, figures={"lag": late}, words=words, unknown={})

    def close(self) -> None:
        """Let go of the sources."""
        for source in self.sources.values():
            source.close()


def _read(source: Source, name: str, at: datetime, kinds: Collection[KindName]) -> Sequence[Reading] | None:
    """A source's accounts as readings; a source that fails in a way nobody foresaw is an account that is unknown."""
    try:
        seen: Sequence[Seen | Reading] | None = source.poll(at)
    except Exception as error:
        LOG.exception("source %s", name)
        seen = [Seen(name, None, None, problem=f"the source failed: {type(error).__name__}")]
    return None if seen is None else [one if isinstance(one, Reading) else observe(one, kinds) for one in seen]


# the dead-man signal --------------------------------------------------------------------------------------------------


class Pulse:
    """Says every so often that the loop is alive; who waits for it learns from its silence."""

    def __init__(self, every_seconds: int, beat: Callable[[], None]) -> None:
        self._every = timedelta(seconds=every_seconds)
        self._beat = beat
        self._next: datetime | None = None
        self._busy: threading.Thread | None = None

    def pass_by(self, at: datetime) -> None:
        """Beat when it is time, beside the loop: a slow receiver costs a beat, not a round."""
        if (self._next is not None and at < self._next) or (self._busy is not None and self._busy.is_alive()):
            return
        self._next = at + self._every
        self._busy = threading.Thread(target=self._try, name="heartbeat", daemon=True)
        self._busy.start()

    def _try(self) -> None:
        try:
            self._beat()
        except (CrossmarginError, OSError) as error:
            LOG.warning("heartbeat: %s", error if isinstance(error, CrossmarginError) else type(error).__name__)


def touch(path: str) -> None:
    """Set a file's time to now."""
    Path(path).touch()
