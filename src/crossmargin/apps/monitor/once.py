"""One round from beginning to end, for cron and for trying: every source read, all judged, what is due sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from crossmargin.apps.monitor.config import MonitorConfig
from crossmargin.apps.monitor.loop import Clock, Monitor
from crossmargin.apps.monitor.outbox import Outbox
from crossmargin.apps.monitor.running import beats, opened
from crossmargin.apps.store.monitoring import WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """What one round did; ``exit_code``: 4 where a critical alert stands, 3 where another does, else 0."""

    judged: int
    open: int
    arrived: int
    waiting: int
    exit_code: int


def run_once(config: MonitorConfig) -> Once:
    """Read every source to its end, judge, send and give the dead-man signal."""
    with opened(config) as monitoring, ThreadPoolExecutor(8) as executor:
        clock = Clock()
        for state in monitoring.states().values():
            clock.reach(state.at)
        monitor = Monitor(
            monitoring, config.sources(monitoring.store), config.all_rules(), executor=executor, now=clock
        )
        try:
            found = monitor.round(wait=True)
        finally:
            monitor.close()
        outbox = Outbox(monitoring, config.channels, config.outside(), clock)
        arrived = sum(outbox.pump(name) for name in config.channels)
        for beat in beats(config.heartbeat, config.outside()):
            beat()
        standing = [alert for alert in monitoring.alerts() if alert.state != "cleared"]
        critical = any(alert.severity == "critical" for alert in standing)
        return Once(
            judged=found.judged - 1,  # without the monitor itself
            open=len(standing),
            arrived=arrived,
            waiting=len(monitoring.deliveries(status=WAITING)),
            exit_code=4 if critical else 3 if standing else 0,
        )
