"""The books over HTTP: the same bytes as the command line, each command once, one tenant's, and nothing lost.

Bytes are compared with what `crossmargin clearing` prints of another journal; the chain is computed anew with hashlib.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import sqlalchemy as sa
from stores import STORES, place
from typer.testing import CliRunner
from world import BTC, ETH, World, instrument

import crossmargin as cm
from crossmargin.apps.cli import app as cli
from crossmargin.apps.server import books as books_module
from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.books import Books
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tokens import create_token
from crossmargin.clearing.audit import verify
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal
from crossmargin.clearing.state import as_account, as_market
from crossmargin.clearing.statement import account_file
from crossmargin.errors import AccountError, JournalError
from crossmargin.files.accounts import case_from

EXAMPLE = Path(__file__).parents[2] / "examples" / "clearing.jsonl"
LINES = EXAMPLE.read_bytes().splitlines()
NDJSON = {"content-type": "application/x-ndjson"}


class Service:
    """A service with books, asked as by a client on the loopback."""

    def __init__(self, store: Store, where: str | None, **settings: Any) -> None:
        self.app = create_app(Settings(journal=where, rate=1e6, burst=10**6, **settings), store)

    @property
    def books(self) -> Books:
        found: Books = self.app.state.books
        return found

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as found:
            yield found

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, headers=headers, **more)

        return asyncio.run(asked())

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", f"/v1/clearing/{path}")

    def send(self, *lines: bytes | str, **headers: str) -> httpx.Response:
        body = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
        return self.ask("POST", "/v1/clearing/commands", {**NDJSON, **headers}, content=body)

    def close(self) -> None:
        if self.app.state.books is not None:
            self.app.state.books.close()
        self.app.state.work.close()


@pytest.fixture(params=STORES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with place(request.param, tmp_path) as found:
        Journal(found).close()
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(str(tmp_path / "service.db"))
    yield found
    found.close()


@pytest.fixture
def service(where: str, store: Store) -> Iterator[Service]:
    found = Service(store, where)
    yield found
    found.close()


def printed(*words: str) -> str:
    return CliRunner().invoke(cli, ["clearing", *words]).stdout


# the same as the command line -----------------------------------------------------------------------------------------


def test_the_answers_are_the_bytes_of_the_command_line(service: Service, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    Journal(other).close()
    expected = printed("apply", str(EXAMPLE), "-j", other, "--answers")
    said = service.send(*LINES)
    assert (said.status_code, said.headers["content-type"]) == (200, "application/x-ndjson")
    assert said.text == expected
    assert service.send(*LINES).text == expected  # sent again: the same bytes, and no second effect
    table = service.ask("POST", "/v1/clearing/commands", json={"commands": [json.loads(line) for line in LINES]})
    assert table.json() == {"answers": [json.loads(line) for line in expected.splitlines()]}
    assert service.get("balances").text == printed("balances", "-j", other, "--json").rstrip("\n")
    assert service.get("balances?owner=@venue").text == printed(
        "balances", "-j", other, "--owner", "@venue", "--json"
    ).rstrip("\n")
    assert service.get("journal?limit=1000").text == printed("export", "-j", other)
    checked = service.get("verify")
    assert checked.text == printed("verify", "-j", other, "--json").rstrip("\n")
    assert checked.json()["records"] == len(LINES) == 17


def test_the_journal_comes_in_pages_whose_chain_anybody_can_check(service: Service) -> None:
    service.send(*LINES)
    found: list[dict[str, Any]] = []
    texts: list[str] = []
    while page := service.get(f"journal?after={len(found)}&limit=5").text:
        assert len(page.splitlines()) <= 5
        texts += page.splitlines()
        found += [json.loads(line) for line in page.splitlines()]
    chain = "0" * 64
    for place_, (record, text) in enumerate(zip(found, texts, strict=True), start=1):
        assert record["seq"] == place_
        command = text[text.index('"command":') + 10 : text.index(',"events":')]
        events = text[text.index('"events":') + 9 : text.rindex(',"hash":')]
        told = f"{chain}\n{place_}\n{record['at']}\n{command}\n{events}"
        chain = hashlib.sha256(told.encode()).hexdigest()
        assert record["hash"] == chain
    assert place_ == len(LINES)


def test_a_page_of_large_records_ends_early_and_misses_none(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_module, "_PAGE", 600)
    service.send(*LINES)
    seen = 0
    while page := service.get(f"journal?after={seen}&limit=1000").text.splitlines():
        assert [json.loads(line)["seq"] for line in page] == list(range(seen + 1, seen + len(page) + 1))
        assert len(page) < len(LINES)
        seen += len(page)
    assert seen == len(LINES)


def test_a_line_that_is_no_command_is_answered_with_its_faults_and_leaves_no_trace(service: Service) -> None:
    said = service.send(LINES[0], b"nonsense", b'{"kind":"halt"}', LINES[1]).text.splitlines()
    assert [json.loads(line)["seq"] for line in said] == [1, None, None, 2]
    assert {fault["path"] for fault in json.loads(said[2])["faults"]} == {"command_id", "at"}


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b"", "application/x-ndjson", 422),
        (b"\n \n", "application/x-ndjson", 422),
        (b"{}\n" * 1000, "application/x-ndjson", 200),
        (b"{}\n" * 1001, "application/x-ndjson", 413),
        (b'{"commands":[]}', "application/json", 422),
        (b'{"commands":{}}', "application/json", 422),
        (b'{"commands":[{}],"more":1}', "application/json", 422),
        (b"[1]", "application/json", 422),
        (b'{"commands":[' + b"[" * 100_000, "application/json", 422),
        (b"{}", "text/plain", 415),
    ],
)
def test_a_body_is_bounded(service: Service, body: bytes, media: str, status: int) -> None:
    said = service.ask("POST", "/v1/clearing/commands", {"content-type": media}, content=body)
    assert said.status_code == status
    assert service.get("journal").text == ""


# accounts as files ----------------------------------------------------------------------------------------------------


def busy() -> World:
    """Accounts with positions on the shared pool and in a pocket, resting orders, a bonus, an inverse contract."""
    world = World(audited=False)
    world.rules(instrument(BTC, "0.01", "0.0005"), instrument(ETH, "0.02", "0.0005"))
    world.mark(BTC="100", ETH="10")
    for name in ("a", "b", "c"):
        world.open(name, USDT="1000")
    world.do("grant_bonus", account="b", asset="USDT", amount="7.5")
    world.buy("a", BTC, "3", "100", "10")
    world.buy("a", ETH, "-40", "10", "5")
    world.do("set_margin_mode", account="b", symbol=ETH, margin_mode="isolated")
    world.do("transfer", account="b", symbol=ETH, amount="25")
    world.buy("b", ETH, "20", "10", "10")
    world.do("set_leverage", account="b", symbol=BTC, leverage="5")
    world.do("place_order", account="b", order_id="rests", symbol=BTC, quantity="1", price="90")
    world.mark(BTC="97", ETH="11")
    return world


def test_an_account_of_the_books_is_a_file_that_is_judged_alike() -> None:
    """What the file says is judged as the books' own account, market and rules are."""
    state = busy().state
    for name, own in state.accounts.items():
        file = account_file(state, name)
        account = as_account(state, own, every_order=True)
        judged = cm.evaluate(account, as_market(state, account), state.rules[own.profile])
        assert file is not None
        assert cm.evaluate(*case_from(file, name)) == judged
        assert case_from(json.loads(json.dumps(file)), name).account == account


def test_figures_of_an_account_of_the_books() -> None:
    """b: 1,000 less the 25 of the pocket, which pays 0.1 of fee (20 x 10 x 0.0005); ETH at 11 gains 20 in it."""
    state = busy().state
    file = account_file(state, "b")
    assert file is not None
    report = cm.evaluate(*case_from(file, "b"))
    pools = {pool.name: pool for pool in report.pools}
    assert str(pools[f"{ETH} isolated"].equity) == "44.9"
    assert file["balances"]["USDT"]["wallet_balance"] == "975"
    assert file["balances"]["USDT"]["bonus_credit"] == "7.5"


def test_every_question_can_be_asked_of_an_account_of_the_books(service: Service) -> None:
    service.send(*LINES[:13])
    file = service.get("accounts/alice").json()
    for name in ("evaluate", "threshold", "explain"):
        direct = service.ask("POST", f"/v1/questions/{name}", json={"clearing_account": "alice"})
        by_file = service.ask("POST", f"/v1/questions/{name}", json={"account": file})
        assert direct.status_code == by_file.status_code == 200
        assert direct.text == by_file.text
    # 2,000 - 4.5 of fees; 5,000 / 5 + 4,000 / 8 of initial margin (docs/clearing.md)
    figures = service.ask("POST", "/v1/questions/evaluate", json={"clearing_account": "alice"}).json()
    assert (figures["equity"], figures["initial_margin"]) == ("1995.5", "1500")
    assert service.get("accounts/nobody").status_code == 404
    assert service.ask("POST", "/v1/questions/evaluate", json={"clearing_account": "nobody"}).status_code == 404
    both = service.ask("POST", "/v1/questions/evaluate", json={"clearing_account": "alice", "account": file})
    assert both.status_code == 422


def test_rules_that_a_file_cannot_say_are_refused_and_not_changed() -> None:
    """The books go by the profile's first revision at a time when it has a later one."""
    world = World(audited=False)
    revisions = cm.load_profile("bybit-uta").revisions
    assert len(revisions) > 1
    world.do("change_rules", profile="bybit-uta", on=str(revisions[0].since))
    world.open("a", profile="bybit-uta", USDT="10")
    with pytest.raises(AccountError, match="send change_rules"):
        account_file(world.state, "a")


# one writer, many who send --------------------------------------------------------------------------------------------


def kept_busy(books: Books) -> Callable[[], None]:
    """The writer does nothing else until what is returned is called."""
    begun, gate = threading.Event(), threading.Event()

    def waits(_: Any) -> bool:
        begun.set()
        return gate.wait(30)

    held = books.ask(waits)
    assert begun.wait(30)

    def ends() -> None:
        gate.set()
        assert held.result(30)

    return ends


def test_requests_that_come_together_share_one_commit_and_get_their_own_answers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.send(*LINES[:3])
    real, commits = Journal.append, list[int]()

    def counted(self: Journal, records: Any) -> None:
        if records:
            commits.append(len(records))
        real(self, records)

    monkeypatch.setattr(Journal, "append", counted)

    async def flood() -> list[httpx.Response]:
        async with service.client() as client:
            let_go = kept_busy(service.books)
            line = '{"kind":"open_account","command_id":"k%d","account":"u%d",%s}'
            rest = '"at":"2026-11-20T08:00:00Z","profile":"plain-cross"'
            sends = [
                asyncio.create_task(client.post("/v1/clearing/commands", content=line % (i, i, rest), headers=NDJSON))
                for i in range(40)
            ]
            while service.books._queue.qsize() < 40 and not any(send.done() for send in sends):
                await asyncio.sleep(0)
            let_go()
            return await asyncio.gather(*sends)

    answers = asyncio.run(flood())
    assert [said.json()["command_id"] for said in answers] == [f"k{i}" for i in range(40)]
    assert all(said.json()["accepted"] for said in answers)
    assert commits == [40]


def test_a_request_that_breaks_the_desk_takes_no_other_with_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossmargin.clearing import desk as desk_module

    service.send(*LINES[:3])
    real = desk_module.apply

    def breaks(state: Any, command: Any, watch: Any) -> Any:
        if command.command_id == "m-2":
            raise ZeroDivisionError
        return real(state, command, watch)

    monkeypatch.setattr(desk_module, "apply", breaks)
    let_go = kept_busy(service.books)
    futures = [service.books.submit([line], "test") for line in LINES[3:6]]
    let_go()
    with pytest.raises(ZeroDivisionError):
        futures[0].result(30)
    assert [json.loads(one.result(30)[0])["accepted"] for one in futures[1:]] == [True, True]


def test_who_waits_too_many_are_told_to_come_back(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books_module, "_WAITING", 2)
    let_go = kept_busy(service.books)
    queued = [service.books.submit([line], "test") for line in LINES[:2]]
    said = service.send(LINES[2])
    assert (said.status_code, said.headers["retry-after"]) == (503, "1")
    let_go()
    assert all(json.loads(one.result(30)[0])["accepted"] for one in queued)


def test_records_are_on_the_stream_as_they_are_in_the_journal(service: Service) -> None:
    async def listened() -> list[Any]:
        listener = service.app.state.hub.join("local")
        stranger = service.app.state.hub.join("somebody-else")
        async with service.client() as client:
            for part in (LINES[:2], LINES[2:5], LINES[:5]):
                await client.post("/v1/clearing/commands", content=b"\n".join(part), headers=NDJSON)
        found = [json.loads(await asyncio.wait_for(listener.next(), 30)) for _ in range(2)]
        assert not listener._waiting, "what is sent again is no news"
        assert not stranger._waiting
        return found

    # the first message holds rules whole, and is told as news where it is too large for the stream
    first, second = asyncio.run(listened())
    records = [json.loads(line) for line in service.get("journal").text.splitlines()]
    assert second == {"type": "record", "after": 2, "records": records[2:]}
    assert first in ({"type": "record", "after": 0, "records": records[:2]}, {"type": "record", "reload": True})


# whose they are -------------------------------------------------------------------------------------------------------

ROUTES = [
    ("POST", "commands"), ("GET", "journal"), ("GET", "balances"), ("GET", "accounts/alice"), ("GET", "verify"),
]  # fmt: skip


def test_without_a_journal_it_is_said_how_one_is_opened(store: Store) -> None:
    service = Service(store, None)
    for method, path in ROUTES:
        said = service.ask(method, f"/v1/clearing/{path}", NDJSON, content=LINES[0])
        assert (said.status_code, said.headers["content-type"]) == (404, "application/problem+json")
        assert "crossmargin serve --journal" in said.json()["detail"]
    service.close()


def test_the_books_are_one_tenants_and_a_scope_says_what_is_allowed(where: str, store: Store) -> None:
    every = ("read", "what-if", "command", "admin")
    ours, _ = create_token(store, "desk", "ours", every, who="test", days=None)
    theirs, _ = create_token(store, "other", "theirs", every, who="test", days=None)
    reads, _ = create_token(store, "desk", "reads", ("read",), who="test", days=None)
    service = Service(store, where, tokens=True, journal_tenant="desk")

    def statuses(secret: str) -> list[int]:
        headers = {**NDJSON, "authorization": f"Bearer {secret}"}
        return [
            service.ask(method, f"/v1/clearing/{path}", headers, content=LINES[5]).status_code
            for method, path in ROUTES
        ]

    assert statuses(ours) == [200, 200, 200, 404, 200]  # no start yet: the command is refused, alice is nobody
    assert statuses(theirs) == [404] * 5
    assert statuses(reads) == [403, 200, 200, 404, 403]
    assert statuses("nobody") == [401] * 5
    question = {"clearing_account": "alice"}
    headers = {"authorization": f"Bearer {theirs}"}
    assert service.ask("POST", "/v1/questions/evaluate", headers, json=question).json()["type"].endswith("no-books")
    with store.reading("desk") as tx:
        (noted,) = [row for row in store.audit_log(tx, "desk") if row.what == "clearing.commands"]
    assert (noted.object, noted.after) == ("1 commands", hashlib.sha256(LINES[5]).hexdigest())
    service.close()


def test_a_journal_that_is_not_there_is_not_made(tmp_path: Path, store: Store) -> None:
    for wrong in (str(tmp_path / "typo.db"), ":memory:"):
        with pytest.raises(JournalError, match="clearing init"):
            Service(store, wrong)
    assert not (tmp_path / "typo.db").exists()


# faults ---------------------------------------------------------------------------------------------------------------


def once_after_all(service: Service, where: str) -> None:
    """The example is in the journal once, whatever went before."""
    assert [json.loads(line)["seq"] for line in service.send(*LINES).text.splitlines()] == list(range(1, 18))
    journal = Journal(where)
    found = verify(journal)
    journal.close()
    assert (found.records, found.findings) == (len(LINES), ())


def test_a_commit_that_fails_is_not_acknowledged_and_the_same_again_happens_once(
    service: Service, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.send(*LINES[:6])
    before = service.get("balances").text

    def away(*_: Any) -> None:
        raise OSError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(service.books._desk.journal._connection, "commit", away)
        said = service.send(*LINES[6:9])
        assert (said.status_code, said.headers["content-type"]) == (503, "application/problem+json")
        assert said.json()["type"] == "urn:crossmargin:problem:journal"
        assert "disk I/O error" in said.json()["faults"][0]["why"]
        assert "crossmargin_books_failing 1.0" in service.ask("GET", "/metrics").text
    assert service.get("journal?after=6").text == ""
    assert service.get("balances").text == before
    once_after_all(service, where)
    assert "crossmargin_books_failing 0.0" in service.ask("GET", "/metrics").text
    assert "crossmargin_books_records 17.0" in service.ask("GET", "/metrics").text


def test_an_answer_that_is_lost_after_the_commit_is_given_when_it_is_asked_for_again(
    service: Service, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database has it and the connection breaks before it can say so: nobody can know but by asking again."""
    service.send(*LINES[:6])
    connection = service.books._desk.journal._connection
    real = connection.commit

    def lost() -> None:
        real()
        raise OSError("connection reset by peer")

    with monkeypatch.context() as broken:
        broken.setattr(connection, "commit", lost)
        assert service.send(*LINES[6:9]).status_code == 503
    assert len(service.get("journal?after=6").text.splitlines()) == 3
    once_after_all(service, where)


def test_while_the_journal_cannot_even_be_read_nothing_unwritten_is_shown(
    service: Service, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.send(*LINES[:6])

    def away(*_: Any, **__: Any) -> None:
        raise OSError("the server has gone away")

    with monkeypatch.context() as broken:
        for name in ("execute", "exec_driver_sql"):
            broken.setattr(service.books._desk.journal._connection, name, away)
        assert service.send(*LINES[6:9]).status_code == 503
        assert service.get("balances").status_code == 503
        assert service.get("accounts/alice").status_code == 503
    assert "2000" not in service.get("balances").text  # the deposit of LINES[6] was never acknowledged
    once_after_all(service, where)


def test_the_audit_log_away_is_nothing_done(service: Service, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise sa.exc.OperationalError("INSERT", {}, Exception("database is locked"))

    with monkeypatch.context() as broken:
        broken.setattr(store, "audit", away)
        said = service.send(*LINES[:2])
        assert (said.status_code, said.json()["type"]) == (503, "urn:crossmargin:problem:store")
    assert service.get("journal").text == ""


@pytest.mark.parametrize("moment", ["before", "in the transaction"])
def test_a_server_that_ends_the_connection_loses_nothing(
    moment: str, service: Service, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends the writer's session; on a file, where no server is, its file handle is taken away instead."""
    service.send(*LINES[:6])
    journal = service.books._desk.journal
    raw = journal._connection.connection.dbapi_connection
    assert raw is not None

    def ended() -> None:
        if "://" not in where:
            raw.close()
            return
        engine = sa.create_engine(where)
        with engine.connect() as connection:
            pid = raw.info.backend_pid
            assert connection.execute(sa.text(f"SELECT pg_terminate_backend({pid})")).scalar()
        engine.dispose()

    if moment == "before":
        ended()
        said = service.send(*LINES[6:9])
    else:
        real = journal._connection.commit

        def cut() -> None:
            ended()
            real()

        with monkeypatch.context() as broken:
            broken.setattr(journal._connection, "commit", cut)
            said = service.send(*LINES[6:9])
    assert said.status_code in ((200, 503) if moment == "before" else (503,))
    if said.status_code == 503:
        assert service.get("journal?after=6").text == ""
    once_after_all(service, where)


def test_what_waits_is_answered_before_the_books_close(where: str, store: Store) -> None:
    service = Service(store, where)
    futures = [service.books.submit([line], "test") for line in LINES]
    service.close()
    assert [json.loads(one.result(0)[0])["seq"] for one in futures] == list(range(1, 18))
    journal = Journal(where)
    assert Desk(journal).seq == 17
    journal.close()
