"""A monitor put together from its configuration, and run until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

from crossmargin.apps.monitor.channels import LOG, Channel, Outcome, Outside, send, trial_message
from crossmargin.apps.monitor.config import Heartbeat, MonitorConfig
from crossmargin.apps.monitor.loop import Clock, Monitor, Pulse, Round, touch
from crossmargin.apps.monitor.outbox import Outbox
from crossmargin.apps.monitor.outward import checked, post
from crossmargin.apps.store.monitoring import Monitoring
from crossmargin.apps.store.store import Store
from crossmargin.errors import CrossmarginError, VenueError
from crossmargin.files.secret import Secret, is_reference

_READERS = 8
_HOUSEKEEPING = 3600.0


@contextmanager
def opened(config: MonitorConfig) -> Iterator[Monitoring]:
    """The tables of a configuration's store."""
    store = Store(config.store)
    try:
        yield Monitoring(store, config.tenant)
    finally:
        store.close()


def run(config: MonitorConfig, stop: threading.Event, *, told: Callable[[Round], None] = lambda _: None) -> None:
    """Watch until ``stop`` is set; ``told`` hears of every round.

    A round that fails (a store that is away, a fault of ours) is said in the log and followed by the next one; the
    dead-man signal is sent only after rounds that did their work.
    """
    with opened(config) as monitoring, ThreadPoolExecutor(_READERS, thread_name_prefix="source") as executor:
        clock = Clock()
        for state in monitoring.states().values():
            clock.reach(state.at)
        outside = config.outside()
        outbox = Outbox(monitoring, config.channels, outside, clock)
        monitor = Monitor(
            monitoring,
            config.sources(monitoring.store),
            config.all_rules(),
            executor=executor,
            now=clock,
            history_seconds=config.history_seconds,
        )
        every = config.heartbeat.every_seconds if config.heartbeat else 0
        pulses = [Pulse(every, beat) for beat in beats(config.heartbeat, outside)]
        pulses.append(Pulse(int(_HOUSEKEEPING), lambda: monitoring.forget(clock(), keep_days=config.keep_days)))
        outbox.start()
        try:
            while not stop.is_set():
                try:
                    found = monitor.round(period=config.every_seconds)
                    told(found)
                    if found.deliveries:
                        outbox.wake()
                    for pulse in pulses:
                        pulse.pass_by(found.at)
                except CrossmarginError as error:
                    LOG.error("a round failed: %s", error)
                except Exception:
                    LOG.exception("a round failed")
                stop.wait(config.every_seconds)
        finally:
            outbox.stop()
            monitor.close()


def beats(heartbeat: Heartbeat | None, outside: Outside) -> list[Callable[[], None]]:
    """What gives the dead-man signal."""
    found: list[Callable[[], None]] = []
    if heartbeat is not None and heartbeat.file is not None:
        path = heartbeat.file
        found.append(lambda: touch(path))
    if heartbeat is not None and heartbeat.url is not None:
        url = heartbeat.url
        found.append(lambda: _ask(url, outside))
    return found


def _ask(url: str, outside: Outside) -> None:
    address = outside.secret(url) if is_reference(url) else Secret(url)
    target = checked(address.reveal(), outside.policy, outside.resolve, where="heartbeat.url")
    answer = post(target, {"User-Agent": "crossmargin-monitor"}, b"", deadline=outside.deadline, tls=outside.tls)
    if answer.status >= 300:
        raise VenueError("heartbeat", f"answered {answer.status}")


def trial(channel: Channel, outside: Outside) -> Outcome:
    """Send a test message now, once, past the outbox."""
    at = datetime.now(UTC)
    return send(channel, trial_message(uuid4().hex, at), outside, now=int(at.timestamp()))
