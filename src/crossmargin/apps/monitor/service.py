"""The monitor inside the service: the stored accounts of every tenant that has alert rules, watched."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from crossmargin.apps.monitor.channels import LOG, Channel, LogChannel, Outside
from crossmargin.apps.monitor.judge import Alert
from crossmargin.apps.monitor.outbox import Outbox
from crossmargin.apps.monitor.rules import with_always
from crossmargin.apps.store.monitoring import Monitoring, watched_tenants
from crossmargin.apps.store.store import Store
from crossmargin.errors import CrossmarginError
from crossmargin.model.report import to_plain

if TYPE_CHECKING:
    from crossmargin.apps.monitor.loop import Clock, Monitor

PERIOD = 1.0
SOURCE = "(accounts)"
"""The name of the store as a source of accounts."""

Tell = Callable[[str, Mapping[str, Any]], None]
"""(tenant, message) -> told to everyone of the tenant who listens."""


def shown(alert: Alert) -> dict[str, Any]:
    """An alert as the service shows it."""
    return {**to_plain(alert), "state": alert.state}


class Alerting:
    """One thread that watches; a tenant without rules is not watched.

    ``channels`` are the operator's, by name; ``tell`` hears of every alert that is raised, escalated or cleared.
    """

    def __init__(
        self, store: Store, tell: Tell, channels: Mapping[str, Channel] | None = None, outside: Outside | None = None
    ) -> None:
        self.channels: Mapping[str, Channel] = channels or {"log": LogChannel()}
        self.outside = outside or Outside()
        self._store = store
        self._tell = tell
        self._clock: Clock | None = None
        self._watched: dict[str, tuple[Monitor, Outbox]] = {}
        self._reading = ThreadPoolExecutor(2, thread_name_prefix="source")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; what is not sent stays in the store."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for monitor, outbox in self._watched.values():
            outbox.stop()
            monitor.close()
        self._reading.shutdown()

    def step(self, *, wait: bool = False) -> None:
        """One round for every tenant that has rules, or had them; ``wait`` for the accounts to be read."""
        for tenant in watched_tenants(self._store):
            try:
                monitor, outbox = self._of(tenant)
                rules = monitor.monitoring.rules()
                monitor.change_rules_to(with_always(rules, tuple(self.channels)) if rules else ())
                found = monitor.round(period=PERIOD, wait=wait)
            except CrossmarginError as error:
                LOG.error("a round of %s failed: %s", tenant, error)
                continue
            for event in found.events:
                self._tell(tenant, {"type": "alert", "event": event.name, "alert": shown(event.alert)})
            if found.deliveries:
                outbox.wake()

    def _of(self, tenant: str) -> tuple[Monitor, Outbox]:
        if tenant not in self._watched:
            # with every source of accounts and what they are judged by: for who watches, not for who starts
            from crossmargin.apps.monitor.loop import Clock, Monitor
            from crossmargin.apps.monitor.sources import StoreSource

            clock = self._clock = self._clock or Clock()
            monitoring = Monitoring(self._store, tenant)
            sources = {SOURCE: StoreSource(SOURCE, self._store, tenant, prefix="")}
            monitor = Monitor(monitoring, sources, (), executor=self._reading, now=clock)
            for state in monitor.states.values():
                clock.reach(state.at)
            outbox = Outbox(monitoring, self.channels, self.outside, clock)
            if self._thread is not None:
                outbox.start()
            self._watched[tenant] = monitor, outbox
        return self._watched[tenant]

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self.step()
            except CrossmarginError as error:
                LOG.error("the store: %s", error)
            except Exception:
                LOG.exception("a round failed")
