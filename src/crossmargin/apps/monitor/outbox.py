"""Deliveries on their way: sent at least once, each channel by itself, so that a slow one holds up nobody.

A delivery is in the store before it is sent and is noted there when it has arrived. A crash between the two sends it
again, with the same id. What fails for the moment is tried again later and later; what fails for good, or too often,
is given up and said in the log.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from crossmargin.apps.monitor.channels import LOG, Channel, Outcome, Outside, send
from crossmargin.apps.store.monitoring import DELIVERED, FAILED, WAITING, Delivery, Monitoring, Tried, stamp
from crossmargin.errors import CrossmarginError

MOST_TRIES = 12
"""With pauses of 2, 4, 8 ... up to 300 seconds: about half an hour."""
_LONGEST = 300.0
_IDLE = 1.0
_TOGETHER = 0.05

Now = Callable[[], datetime]


class Outbox:
    """Sends what is due. ``now`` is the monitor's clock, which never goes back."""

    def __init__(self, monitoring: Monitoring, channels: Mapping[str, Channel], outside: Outside, now: Now) -> None:
        self.monitoring = monitoring
        self.channels = channels
        self.outside = outside
        self.now = now
        self._stop = threading.Event()
        self._wake = {name: threading.Event() for name in channels}
        self._threads: list[threading.Thread] = []

    def pump(self, name: str) -> int:
        """Try everything that is due on one channel once; how many arrived.

        What arrives within a moment is noted together: each note is a write to the disk.
        """
        arrived, tried, since = 0, list[Tried](), time.monotonic()
        try:
            for delivery in self.monitoring.due(name, self.now()):
                if self._stop.is_set():
                    break
                channel = self.channels[name]
                outcome = send(channel, delivery.message, self.outside, now=int(self.now().timestamp()))
                arrived += outcome.sent
                tried.append(self._tried(delivery, outcome))
                if time.monotonic() - since > _TOGETHER:
                    noted, tried, since = tried, [], time.monotonic()
                    self.monitoring.settle(noted)
        finally:
            if tried:
                self.monitoring.settle(tried)
        return arrived

    def _tried(self, delivery: Delivery, outcome: Outcome) -> Tried:
        """What a try means: arrived, to be tried again, or given up."""
        tries, at = delivery.tries + 1, self.now()
        if outcome.sent:
            return Tried(delivery.id, DELIVERED, tries, "", stamp(at))
        again = outcome.again and tries < MOST_TRIES
        pause = max(outcome.after, min(2.0**tries, _LONGEST))
        words = "will be tried again" if again else "IS GIVEN UP"
        LOG.warning("delivery %s to %s: %s; %s", delivery.id, delivery.channel, outcome.why, words)
        due = at + timedelta(seconds=pause) if again else at
        return Tried(delivery.id, WAITING if again else FAILED, tries, outcome.why, stamp(due))

    # threads ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Send in the background, one thread a channel."""
        for name in self.channels:
            thread = threading.Thread(target=self._run, args=(name,), name=f"alerts to {name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wake(self) -> None:
        """Say that there may be something new."""
        for event in self._wake.values():
            event.set()

    def stop(self, *, timeout: float = 12.0) -> None:
        """End the threads; what is not sent stays in the store."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout)

    def _run(self, name: str) -> None:
        while not self._stop.is_set():
            self._wake[name].clear()
            try:
                while self.pump(name):
                    pass
            except CrossmarginError as error:  # a store that is not there for a moment; what is in it waits
                LOG.error("deliveries to %s: %s", name, error)
            except Exception:  # one message that cannot be sent must not silence its channel
                LOG.exception("deliveries to %s", name)
            self._wake[name].wait(_IDLE)
