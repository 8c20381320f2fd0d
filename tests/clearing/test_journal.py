"""The journal: exactly once, in one order, durable when acknowledged, and every damage named. SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from stores import STORES, place
from typer.testing import CliRunner
from world import BTC, T0, World, instrument, rules_of

from crossmargin.apps.cli import app
from crossmargin.clearing.audit import verify
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import GENESIS, Journal, chained
from crossmargin.clearing.state import state_hash
from crossmargin.errors import JournalError


@pytest.fixture(autouse=True)
def journals(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Journal]]:
    """Every journal that a test opens, closed after it."""
    made: list[Journal] = []
    real = Journal.__init__

    def remembered(self: Journal, where: str) -> None:
        real(self, where)
        made.append(self)

    monkeypatch.setattr(Journal, "__init__", remembered)
    yield made
    for journal in made:
        journal.close()


@pytest.fixture(params=STORES)
def where(request: pytest.FixtureRequest, tmp_path: Path, journals: list[Journal]) -> Iterator[str]:
    """A place for a new journal."""
    with place(request.param, tmp_path) as found:
        yield found
        for journal in journals:
            journal.close()


def lines(seed: int = 0, steps: int = 60) -> list[str]:
    """Commands of a small venue, liquidation included, some of them refused."""
    rng = random.Random(seed)
    world = World(audited=False)
    world.rules(instrument(BTC, "0.01", "0.0005"))
    for name in "abc":
        world.open(name, USDT="1000")
        world.say("set_leverage", account=name, symbol=BTC, leverage="10")
    price = 100
    for step in range(steps):
        world.later(seconds=1)
        if step % 20 == 7:  # refused for its time, which must leave no trace in the clock
            world.say("halt", at=world.now + timedelta(hours=2))
        price = max(60, price + rng.randrange(-6, 6))
        world.say("mark", symbol=BTC, price=str(price), confirmed=True)
        name, sign = rng.choice("abc"), rng.choice(("", "-"))
        order = {"account": name, "order_id": f"o{step}"}
        world.say("place_order", symbol=BTC, quantity=f"{sign}{rng.randrange(1, 60)}", price=str(price), **order)
        world.say("fill", quantity=f"{sign}1", price=str(price), **order)
        if world.state.accounts[name].levels:
            world.say("liquidate_step", account=name, pool="account")
    return world.wire


LINES = lines()


def opened(where: str) -> Desk:
    return Desk(Journal(where), rules_of)


def test_a_journal_opens_again_where_it_was(where: str) -> None:
    first = opened(where)
    answers = [first.submit([line])[0] for line in LINES[:50]]
    answers += first.submit(LINES[50:])
    again = opened(where)
    assert (again.seq, again.chain, state_hash(again.state)) == (len(LINES), first.chain, state_hash(first.state))
    assert any('"code":"insufficient_margin"' in said for said in answers)
    found = verify(again.journal)
    assert (found.records, found.chain, found.findings) == (len(LINES), first.chain, ())
    assert found.state_hash == state_hash(first.state)


def test_the_same_commands_give_the_same_hashes_everywhere(where: str, tmp_path: Path) -> None:
    here, there = opened(where), opened(str(tmp_path / "other.db"))
    here.submit(LINES)
    for line in LINES:
        there.submit([line])
    assert (here.chain, state_hash(here.state)) == (there.chain, state_hash(there.state))


def test_a_command_happens_once_and_is_answered_the_same_for_ever(where: str) -> None:
    desk = opened(where)
    first = desk.submit(LINES)
    rng = random.Random(1)
    again = [rng.randrange(len(LINES)) for _ in range(30)]
    assert desk.submit([LINES[i] for i in again]) == [first[i] for i in again]
    # blanks and the order of keys are not content
    spaced = json.dumps(dict(reversed(json.loads(LINES[5]).items())), indent=1)
    assert opened(where).submit([spaced]) == [first[5]]
    assert (desk.seq, opened(where).seq) == (len(LINES), len(LINES))
    other = json.loads(LINES[5]) | {"at": "2026-11-20T08:00:01Z"}
    (said,) = desk.submit([json.dumps(other)])
    assert json.loads(said)["accepted"] is False
    assert "another content" in said
    assert desk.seq == len(LINES)


def test_a_command_twice_in_one_group_happens_once(where: str) -> None:
    desk = opened(where)
    answers = desk.submit([*LINES[:6], LINES[5], LINES[5]])
    assert answers[5] == answers[6] == answers[7]
    assert desk.seq == 6


def test_a_line_that_is_no_command_leaves_no_trace(where: str) -> None:
    desk = opened(where)
    answers = desk.submit([LINES[0], "nonsense", LINES[1], '{"kind":"deposit","amount":"1e5"}'])
    assert [json.loads(said)["seq"] for said in answers] == [1, None, 2, None]
    assert verify(desk.journal).records == 2


def test_a_snapshot_and_the_tail_give_the_same_state(where: str) -> None:
    desk = opened(where)
    desk.submit(LINES[:70])
    kept = desk.snapshot()
    assert desk.snapshot() == kept
    desk.submit(LINES[70:])
    again = opened(where)
    assert (again.chain, state_hash(again.state)) == (desk.chain, state_hash(desk.state))
    # and the books go on the same from there
    more = lines(seed=3)
    fresh = [json.dumps(json.loads(line) | {"command_id": f"n{i}"}) for i, line in enumerate(more[8:40])]
    assert desk.submit(fresh) and desk.chain != again.chain
    assert opened(where).chain == desk.chain
    assert verify(desk.journal).findings == ()


def test_a_snapshot_that_was_changed_is_not_used_and_verify_says_so(where: str) -> None:
    desk = opened(where)
    desk.submit(LINES)
    kept = desk.snapshot()
    engine = sa.create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE snapshots SET state = :state"), {"state": kept.state.replace('"USDT"', '"USDC"', 1)}
        )
    engine.dispose()
    assert state_hash(opened(where).state) == state_hash(desk.state)
    (finding,) = verify(Journal(where)).findings
    assert finding.where == f"snapshot {len(LINES)}"


@pytest.mark.parametrize("column", ["command", "events", "hash", "at"])
@pytest.mark.parametrize("seq", [1, 40, len(LINES)])
def test_a_flipped_bit_is_found_in_its_record(where: str, column: str, seq: int) -> None:
    desk = opened(where)
    desk.submit(LINES)
    engine = sa.create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        told = sa.text(f"SELECT {column} FROM records WHERE seq = {seq}")
        text = str(connection.execute(told).scalar())
        at = len(text) // 2
        other = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]
        connection.execute(sa.text(f"UPDATE records SET {column} = :text WHERE seq = {seq}"), {"text": other})
    engine.dispose()
    found = verify(Journal(where))
    assert (found.records, found.findings[0].where) == (seq - 1, f"record {seq}")
    with pytest.raises(JournalError, match=f"record {seq}"):
        opened(where)


def test_a_record_that_is_gone_is_missed(where: str) -> None:
    desk = opened(where)
    desk.submit(LINES)
    engine = sa.create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM records WHERE seq = 17"))
    engine.dispose()
    assert verify(Journal(where)).findings[0].where == "record 17"


def test_a_forged_record_with_a_right_hash_is_found_by_deciding_again(where: str) -> None:
    """Whoever rewrites the chain from some record on cannot make the commands give other events."""
    desk = opened(where)
    desk.submit(LINES)
    chain, rows = GENESIS, []
    for record in desk.journal.records():
        events = record.events
        if record.seq == 4:
            events = events.replace('"1000"', '"9000"').replace('"-1000"', '"-9000"')
        chain = chained(chain, record.seq, record.at, record.command, events)
        rows.append({"seq": record.seq, "events": events, "hash": chain})
    engine = sa.create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE records SET events = :events, hash = :hash WHERE seq = :seq"), rows)
    engine.dispose()
    (finding, *_) = verify(Journal(where)).findings
    assert (finding.where, finding.what) == ("record 4", "its command gives other events than are written there")


def test_two_writers_cannot_both_go_on(where: str) -> None:
    one, two = opened(where), opened(where)
    one.submit(LINES[:3])
    with pytest.raises(JournalError, match="not written"):
        two.submit(LINES[:4])
    # the second has gone back to what is written, and goes on from there
    assert two.chain == one.chain
    assert json.loads(two.submit([LINES[0]])[0])["seq"] == 1
    two.submit(LINES[3:])
    assert verify(two.journal).records == len(LINES)


def test_a_journal_that_cannot_be_written_acknowledges_nothing_and_goes_on_later(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = opened(where)
    desk.submit(LINES[:20])
    before = desk.chain, state_hash(desk.state)

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(desk.journal._connection, "commit", full)
        with pytest.raises(JournalError, match="no space left"):
            desk.submit(LINES[20:30])
    assert (desk.chain, state_hash(desk.state)) == before
    desk.submit(LINES[20:])
    assert verify(desk.journal).records == len(LINES)


def test_migrating_an_empty_and_a_full_journal_changes_no_hash(where: str) -> None:
    first = opened(where)
    first.submit(LINES)
    for _ in range(2):  # opening migrates
        assert opened(where).chain == first.chain


# a real disk, a real process ------------------------------------------------------------------------------------------


def test_a_file_that_may_not_grow_is_a_full_disk(tmp_path: Path) -> None:
    """The journal's file is limited by the system: what was acknowledged before is there, nothing of the rest is."""
    where = tmp_path / "books.db"
    script = (
        "import json, resource, signal, sys\n"
        "from crossmargin.clearing.desk import Desk\n"
        "from crossmargin.clearing.journal import Journal\n"
        "from crossmargin.errors import JournalError\n"
        "from world import rules_of\n"
        "lines = json.load(sys.stdin)\n"
        f"desk = Desk(Journal({str(where)!r}), rules_of)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, unlimited))\n"
        "done, first = 0, desk.submit(lines[:1])[0]\n"
        "try:\n"
        "    for line in lines:\n"
        "        desk.submit([line])\n"
        "        done += 1\n"
        "except JournalError as error:\n"
        "    print(done, desk.seq, *str(error).split())\n"
        "print(desk.submit(lines[:1]) == [first])  # what is there can still be read\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))\n"
        "desk.submit(lines)\n"
        "print(desk.seq)\n"
    )
    path = f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    found = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(LINES),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    failed, reads, after = found.stdout.splitlines()
    done, seq, said = failed.split(" ", 2)
    assert (done, "not written" in said) == (seq, True)
    assert 5 < int(done) < len(LINES)
    assert (reads, int(after)) == ("True", len(LINES))
    assert (verify(Journal(str(where))).records, verify(Journal(str(where))).findings) == (len(LINES), ())


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(where: str) -> None:
    """Killed again and again while it writes: what was answered is there, once; the client sends the rest again."""
    opened(where).journal.close()
    rng = random.Random(5)
    acknowledged: dict[int, str] = {}
    for round_ in range(3 if "://" in where else 6):
        todo = [i for i in range(len(LINES)) if i not in acknowledged]
        # every third round sends all of it again, as a client does that does not know
        todo = list(range(len(LINES))) if round_ % 3 == 2 else todo
        for i, said in zip(todo, served(where, [LINES[i] for i in todo], rng.randrange(1, 25)), strict=False):
            assert acknowledged.setdefault(i, said) == said
    desk = opened(where)
    assert desk.seq >= len(acknowledged) > 20
    for i, said in acknowledged.items():
        assert desk.submit([LINES[i]]) == [said]
    desk.submit(LINES)
    assert verify(desk.journal).records == len(LINES)
    assert verify(desk.journal).findings == ()


def served(where: str, wanted: list[str], kill_after: int) -> list[str]:
    """The answers of a ``serve-stdin`` that is killed when it has given about so many."""
    process = subprocess.Popen(
        [sys.executable, "-m", "crossmargin.apps.cli", "clearing", "serve-stdin", "--journal", where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    source = process.stdin

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):
            for line in wanted:
                source.write(line + "\n")
                source.flush()
        with contextlib.suppress(BrokenPipeError):
            source.close()

    writer = threading.Thread(target=feed)
    writer.start()
    answers = []
    for said in process.stdout:
        answers.append(said.rstrip("\n"))
        if len(answers) == kill_after:
            process.send_signal(signal.SIGKILL)
    process.wait()
    writer.join()
    process.stdout.close()
    # the last line may be cut by the kill: it was not acknowledged then
    return [said for said in answers if said.endswith("}")]


def test_sqlite_is_told_to_survive_a_power_cut(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "books.db"))
    for pragma, value in (("journal_mode", "wal"), ("synchronous", 2)):
        assert journal._connection.execute(sa.text(f"PRAGMA {pragma}")).scalar() == value


def test_a_place_that_is_no_journal_is_said_to_be_none(tmp_path: Path) -> None:
    wrong = tmp_path / "books.db"
    wrong.write_bytes(b"this is not a database" * 100)
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(str(wrong))
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(str(tmp_path / "no such folder" / "books.db"))
    with pytest.raises(JournalError):
        Journal("nonsense://")


# the command line -----------------------------------------------------------------------------------------------------


def run(*words: str, stdin: str = "") -> Any:
    return CliRunner().invoke(app, ["clearing", *words], input=stdin)


def test_the_verbs_from_first_to_last(tmp_path: Path) -> None:
    where, file = str(tmp_path / "books.db"), tmp_path / "commands.jsonl"
    assert run("init", "-j", where, "--set", "max_age_seconds=60", "--set", "quantum.USDT=0.01").exit_code == 0
    assert isinstance(run("init", "-j", where).exception, JournalError)
    file.write_text("\n".join(LINES[1:]))
    applied = run("apply", str(file), "-j", where, "--json")
    figures = json.loads(applied.stdout)
    assert (applied.exit_code, figures["records"]) == (3, len(LINES))
    assert run("apply", str(file), "-j", where, "--json").stdout == applied.stdout
    checked = run("verify", "-j", where, "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == {**figures, "findings": []}
    assert json.loads(run("snapshot", "-j", where, "--json").stdout) == figures
    held = json.loads(run("balances", "-j", where, "--json").stdout)
    assert held["totals"] == {}
    assert {"owner": "@outside", "place": "wallet", "asset": "USDT", "amount": "-3000"} in held["balances"]
    assert "@outside" in run("balances", "-j", where).stdout
    exported = run("export", "-j", where, "--commands").stdout.splitlines()
    assert len(exported) == len(LINES)
    assert json.loads(run("export", "-j", where, "--after", "3").stdout.splitlines()[0])["seq"] == 4
    other = str(tmp_path / "other.db")
    opened(other).submit(exported)
    assert opened(other).chain == figures["chain"]
    with sqlite3.connect(where) as raw:
        raw.execute("UPDATE records SET at = 'x' WHERE seq = 9")
    raw.close()
    assert run("verify", "-j", where).exit_code == 1
    assert "record 9" in run("verify", "-j", where).stdout


def test_the_example_of_the_page_to_the_cent(tmp_path: Path) -> None:
    # 0.0005 x (5,000 + 4,000) = 4.50; 0.05 x 41,000 = 2,050 lost; 2,000 - 4.50 - 2,050 = -54.50 of the fund
    where = str(tmp_path / "books.db")
    assert run("init", "-j", where, "--at", "2026-11-20T08:00:00Z").exit_code == 0
    example = Path(__file__).parents[2] / "examples" / "clearing.jsonl"
    assert run("apply", str(example), "-j", where).exit_code == 3
    held = json.loads(run("balances", "-j", where, "--json").stdout)["balances"]
    assert {row["place"]: row["amount"] for row in held} == {
        "wallet": "-3000", "fees": "4.5", "insurance_fund": "945.5", "market": "2050",
    }  # fmt: skip
    assert json.loads(run("apply", str(example), "-j", ":memory:", "--json").stdout)["records"] == 17


def test_the_verbs_refuse_what_is_not_there_or_wrong(tmp_path: Path) -> None:
    assert isinstance(run("verify", "-j", str(tmp_path / "none.db")).exception, JournalError)
    assert "max_age" in str(run("init", "-j", str(tmp_path / "a.db"), "--set", "max_age_seconds=0").exception)
    where = str(tmp_path / "b.db")
    run("init", "-j", where, "--at", T0.isoformat())
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"kind":"halt"}\n')
    assert run("apply", str(wrong), "-j", where).exit_code == 2
