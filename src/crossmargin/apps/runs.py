"""A book judged from Parquet to Parquet, in bounded memory, in parts that survive an interruption.

    OUT              a folder of part-*.parquet, one row a pool; it appears only when every part is in it
    OUT.manifest.json    what was judged by which rules, in numbers, with the checksum of every input and part
    OUT.partial/     a run that has not ended: run.json (what it is), parts.jsonl (what is done), parts/, lock

A part is written under another name, flushed to the disk, renamed, and then listed. So a run that is killed leaves
nothing that looks whole, and the next one with the same inputs goes on after the last listed part. Parts hold no time
and no name of a machine: whoever judges the same inputs gets the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import pyarrow as pa
from pydantic import BaseModel

from crossmargin.apps.batch import Shard, Tally, checked_book, part_bytes, total
from crossmargin.apps.verbs.venues import sources_of
from crossmargin.engine.interchange import ROWS, first_line, open_book
from crossmargin.errors import AccountError, CrossmarginError, Fault
from crossmargin.model.profile import Rules
from crossmargin.model.report import to_json, to_plain

_LIBRARIES = ("crossmargin", "numba", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A file that the run depends on, named without its folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file of the output: its name, checksum and what is in it."""

    name: str
    sha256: str
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an output is: its inputs, the rules with their sources and dates, and what was found, in numbers.

    ``tally.rejudged`` counts verdicts that the exact judge decided because floats could not.
    """

    book: Input
    market: Input
    as_of: str
    profile: str
    rules_since: str
    rules_sha256: str
    sources: Mapping[str, Mapping[str, str]]
    thresholds: bool
    rows_per_part: int
    versions: Mapping[str, str]
    tally: Tally
    parts: tuple[Part, ...]


class Task(NamedTuple):
    """One row group of the book, to be judged into parts; ``first`` numbers the first of them."""

    path: str
    folder: str
    group: int
    first: int
    rows: int
    done: frozenset[int]


class Executor(Protocol):
    """What runs tasks: threads here, workers of a cluster elsewhere. Results come in the order of the tasks."""

    def run(self, tasks: Sequence[Task], shard: Shard, metadata: Any) -> Iterator[list[Part]]:
        """The parts of each task."""


def sha256_of(path: Path) -> str:
    """The checksum of a file, as ``sha256sum`` prints it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def input_of(path: str) -> Input:
    """A file by name, size and checksum. Raises :class:`AccountError` where it cannot be read."""
    try:
        return Input(name=Path(path).name, bytes=Path(path).stat().st_size, sha256=sha256_of(Path(path)))
    except OSError as problem:
        raise AccountError(path, f"cannot be read: {problem.strerror or problem}") from None


def _text_of(rules: Rules) -> str:
    """Rules as one text, the same in every process: sets have no order of their own."""

    def plain(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if isinstance(value, Mapping):
            return dict(value)
        return sorted(value) if isinstance(value, frozenset) else str(value)

    return json.dumps({f.name: getattr(rules, f.name) for f in fields(rules)}, default=plain, sort_keys=True)


# the work of one task -------------------------------------------------------------------------------------------------


def run_task(task: Task, shard: Shard, metadata: Any = None) -> list[Part]:
    """Judge one row group and write its parts; runs wherever the book and the folder are seen under the same path."""
    file = open_book(task.path, metadata=metadata)
    parts = []
    try:
        batches = file.iter_batches(task.rows, row_groups=[task.group], use_threads=False)
        for number, batch in enumerate(batches, start=task.first):
            if number not in task.done:
                parts.append(_write_part(Path(task.folder), number, *_judged(task, shard, batch)))
    except (OSError, pa.ArrowException) as problem:
        why = f"row group {task.group} cannot be read: {first_line(problem)}"
        raise AccountError(task.path, why) from None
    return parts


def _judged(task: Task, shard: Shard, batch: Any) -> tuple[Any, Tally]:
    """What a shard says of a batch; its complaints with the place in the file."""
    try:
        return shard.judged(batch)
    except AccountError as error:
        raise AccountError(f"{task.path}: row group {task.group}", error.faults) from None


def _write_part(folder: Path, number: int, result: Any, tally: Tally) -> Part:
    name = f"part-{number:05d}.parquet"
    data = part_bytes(result)
    _write(folder / name, data)
    return Part(name=name, sha256=hashlib.sha256(data).hexdigest(), tally=tally)


def _write(path: Path, data: Any) -> None:
    """A file that is whole or not there: another name, flushed to the disk, then renamed."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
        _flush_folder(path.parent)
    except OSError as problem:
        raise AccountError(str(path), f"cannot be written: {problem.strerror or problem}") from None


def _flush_folder(folder: Path) -> None:
    """A rename lasts once its folder is on the disk; Windows flushes folders by itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Threads:
    """Tasks on threads of this process: reading, judging and writing all leave the interpreter's lock."""

    def __init__(self, count: int | None = None) -> None:
        self.count = count or os.cpu_count() or 1

    def run(self, tasks: Sequence[Task], shard: Shard, metadata: Any) -> Iterator[list[Part]]:
        """The parts of each task in order; a few tasks ahead are in memory, never the book."""
        waiting: deque[Future[list[Part]]] = deque()
        with ThreadPoolExecutor(self.count) as pool:
            try:
                for task in tasks:
                    waiting.append(pool.submit(run_task, task, shard, metadata))
                    if len(waiting) > self.count + 1:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)


# the run --------------------------------------------------------------------------------------------------------------


class Run:
    """One book, one market, one set of rules, one output; begun, gone on with, or refused."""

    def __init__(self, path: str, market: str, out: str, shard: Shard, *, rows: int = ROWS) -> None:
        """Raises :class:`AccountError` for a book that cannot be read, an output that exists, or another run's rest."""
        self.path = path
        self.out = Path(out)
        self.shard = shard
        self.rows = rows
        self.work = self.out.with_name(self.out.name + ".partial")
        self.parts = self.work / "parts"
        self.file = checked_book(path)
        rules = shard.rules
        self.identity = {
            "book": asdict(input_of(path)),
            "market": asdict(input_of(market)),
            "as_of": to_plain(shard.market.as_of),
            "profile": rules.profile,
            "rules_since": to_plain(rules.since),
            "rules_sha256": hashlib.sha256(_text_of(rules).encode()).hexdigest(),
            "thresholds": shard.thresholds,
            "rows_per_part": rows,
            "versions": {name: version(name) for name in _LIBRARIES},
        }
        if self.out.exists():
            if self.work.exists() and not self.parts.exists():
                shutil.rmtree(self.work)  # a run that was killed after its last step
            raise AccountError(str(self.out), "exists; remove it, or write to another name")
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise AccountError(str(self.work), f"cannot be made: {problem.strerror or problem}") from None
        self._lock = _locked(self.work)
        try:
            self.done = self._resumed() if (self.work / "run.json").exists() else self._begun()
        except CrossmarginError:
            self._lock.close()
            raise

    @property
    def purses(self) -> int:
        """How many rows the book has."""
        return int(self.file.metadata.num_rows)

    @property
    def _manifest(self) -> Path:
        return self.out.with_name(self.out.name + ".manifest.json")

    def _begun(self) -> dict[str, Part]:
        self._manifest.unlink(missing_ok=True)  # that of an output that is gone
        _write(self.work / "run.json", to_json(self.identity).encode())
        return {}

    def _resumed(self) -> dict[str, Part]:
        """The parts that an interrupted run has listed, if it was the same run; what it did not list is removed."""
        before = json.loads((self.work / "run.json").read_bytes())
        faults = [
            Fault(key, str(value)[:60], f"has changed; the interrupted run had {str(before.get(key))[:60]}")
            for key, value in self.identity.items()
            if before.get(key) != value
        ]
        if faults:
            where = f"{self.work} belongs to another run; remove it to begin anew"
            raise AccountError(where, faults)
        listed = dict(_listed(self.work / "parts.jsonl"))
        done = {}
        for path in sorted(self.parts.iterdir()):
            part = listed.get(path.name)
            if part is not None and sha256_of(path) == part.sha256:
                done[path.name] = part
            else:
                path.unlink()
        _write(self.work / "parts.jsonl", b"".join(map(_line, done.values())))
        return done

    def tasks(self) -> list[Task]:
        """The row groups that are not done, each with the parts of it that are."""
        found, first = [], 0
        folder = str(self.parts.resolve())
        for group in range(self.file.metadata.num_row_groups):
            count = -(-self.file.metadata.row_group(group).num_rows // self.rows)
            numbers = range(first, first + count)
            done = frozenset(n for n in numbers if f"part-{n:05d}.parquet" in self.done)
            if len(done) < count:
                found.append(Task(str(Path(self.path).resolve()), folder, group, first, self.rows, done))
            first += count
        return found

    def execute(self, executor: Executor, progress: Callable[[int], None] = lambda _: None) -> Manifest:
        """Judge what is not done and put the output in its place. ``progress`` is called with purses that are done."""
        progress(sum(part.tally.purses for part in self.done.values()))
        with self._lock, (self.work / "parts.jsonl").open("ab") as journal:
            for parts in executor.run(self.tasks(), self.shard, self.file.metadata):
                journal.write(b"".join(map(_line, parts)))
                journal.flush()
                os.fsync(journal.fileno())
                self.done |= {part.name: part for part in parts}
                progress(sum(part.tally.purses for part in parts))
            return self._finished()

    def _finished(self) -> Manifest:
        parts = tuple(self.done[name] for name in sorted(self.done))
        if not parts:
            empty = self.file.schema_arrow.empty_table().to_batches(1)
            nothing = empty[0] if empty else pa.RecordBatch.from_pylist([], schema=self.file.schema_arrow)
            parts = (_write_part(self.parts, 0, *self.shard.judged(nothing)),)
        manifest = Manifest(
            **{
                **self.identity,
                "book": Input(**self.identity["book"]),
                "market": Input(**self.identity["market"]),
                "sources": sources_of(self.shard.rules),
                "tally": total(part.tally for part in parts),
                "parts": parts,
            }
        )
        # the manifest first: where the output is, its manifest is too
        _write(self._manifest, to_json(manifest).encode() + b"\n")
        self.parts.rename(self.out)
        _flush_folder(self.out.parent)
        shutil.rmtree(self.work)
        return manifest


def _locked(folder: Path) -> IO[bytes]:
    """A handle that keeps other processes out of a run until it is closed, or its process is no more."""
    handle = (folder / "lock").open("ab")
    if os.name != "nt":
        fcntl = import_module("fcntl")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            raise AccountError(str(folder), "is in work by another process; wait for it, or end it") from None
    return handle


def _line(part: Part) -> bytes:
    """A part as one line of the journal."""
    return json.dumps(to_plain(part)).encode() + b"\n"


def _listed(journal: Path) -> Iterator[tuple[str, Part]]:
    """The parts that a journal lists; a line that was cut off lists nothing."""
    if not journal.exists():
        return
    for line in journal.read_bytes().split(b"\n")[:-1]:
        try:
            raw = json.loads(line)
        except ValueError:
            continue
        yield raw["name"], Part(name=raw["name"], sha256=raw["sha256"], tally=Tally(**raw["tally"]))
