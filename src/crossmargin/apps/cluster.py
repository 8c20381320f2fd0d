"""A run on a Dask cluster: the same tasks on workers that see the book and the output under the same path."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from crossmargin.apps.batch import Shard
from crossmargin.apps.runs import Part, Task, run_task
from crossmargin.errors import Fault, MissingExtra, ProfileError

try:
    distributed: Any = import_module("distributed")
except ImportError as error:  # pragma: no cover - the extra is installed where the tests run
    raise MissingExtra("cluster", "needs Dask; install crossmargin[cluster]") from error


class Cluster:
    """Tasks on the workers of a Dask scheduler, or of a cluster of this machine's own (``local``).

    A task that a worker dies with is done again by another; what it wrote is either whole or not there, and the same
    bytes. ``workers``: how many processes a local cluster has, one thread each.
    """

    def __init__(self, address: str, *, workers: int | None = None) -> None:
        """Raises :class:`ProfileError` where nobody answers."""
        self._own = None
        if address == "local":
            self._own = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
            )
        try:
            self.client = distributed.Client(self._own or address, timeout="10s")
        except (OSError, ValueError) as problem:
            why = f"does not answer as a Dask scheduler: {problem}"
            raise ProfileError("--cluster", (Fault("--cluster", address, why),)) from None

    def run(self, tasks: Sequence[Task], shard: Shard, metadata: Any) -> Iterator[list[Part]]:
        """The parts of each task in order; the footer is read again where the task runs."""
        del metadata
        waiting: deque[Any] = deque()
        ahead = 4 * max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
        [sent] = self.client.scatter([shard], broadcast=True)
        for task in tasks:
            waiting.append(self.client.submit(run_task, task, sent, pure=False, retries=3))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        self.client.close()
        if self._own is not None:
            self._own.close()
