"""Counts and times of requests, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from crossmargin.apps.server.hub import Hub
from crossmargin.apps.server.limits import Work


class Meter:
    """The figures of one service."""

    def __init__(self, work: Work, hub: Hub) -> None:
        self._registry = CollectorRegistry()
        labels = ["method", "route", "status"]
        self._requests = Counter("crossmargin_requests", "Requests answered.", labels, registry=self._registry)
        self._seconds = Histogram(
            "crossmargin_request_seconds",
            "Time from a request to its answer.",
            ["route"],
            buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self._registry,
        )
        waiting = Gauge(
            "crossmargin_waiting", "Work that is done or waits, by lane.", ["lane"], registry=self._registry
        )
        pending: Mapping[Any, int] = work.pending
        for lane in pending:
            waiting.labels(lane).set_function(partial(pending.__getitem__, lane))
        listeners = Gauge("crossmargin_listeners", "Open streams.", registry=self._registry)
        listeners.set_function(hub.count)

    def show(self, name: str, words: str, value: Callable[[], float]) -> None:
        """A further figure, looked at whenever the figures are read."""
        Gauge(name, words, registry=self._registry).set_function(value)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> tuple[bytes, int, dict[str, str]]:
        """The figures as a body, a status and headers."""
        return generate_latest(self._registry), 200, {"Content-Type": CONTENT_TYPE_LATEST}
