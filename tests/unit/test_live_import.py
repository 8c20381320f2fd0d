"""The live import, with the real client against a local server that replays answers, good and bad."""

import json
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlparse

import ccxt
import pytest
from typer.testing import CliRunner

from crossmargin.apps.cli import app, main
from crossmargin.errors import VenueError
from crossmargin.files import live, secret
from crossmargin.files.live import CALLS, RIGHTS, TRIES, read_live
from crossmargin.files.secret import Secret, credentials
from crossmargin.files.unified import import_account

CANARY, OTHER = "CANARY-key-7f3a", "CANARY-secret-91bc"
KEYS = {"apiKey": Secret(CANARY), "secret": Secret(OTHER)}
READ_ONLY = {"enableReading": True, "enableFutures": False, "enableWithdrawals": False}
ACCOUNT = {
    "totalMaintMargin": "122.00000000",
    "assets": [{"asset": "USDT", "walletBalance": "1000.10", "crossWalletBalance": "1000.10", "updateTime": 0}],
    "positions": [],
}
RISK = [
    {
        "symbol": "BTCUSDT",
        "positionSide": "BOTH",
        "positionAmt": "-0.5",
        "entryPrice": "60000.0",
        "markPrice": "61000.00000000",
        "unRealizedProfit": "-500.00000000",
        "liquidationPrice": "0",
        "notional": "-30500.00000000",
        "initialMargin": "3050",
        "maintMargin": "122",
        "isolatedWallet": "0",
        "updateTime": 1764547200000,
    }
]
Script = dict[str, tuple[int, dict[str, str], str]]


class Venue:
    """A local server that answers by path, and the client that is pointed at it."""

    def __init__(self) -> None:
        self.script: Script = {}
        self.asked: list[str] = []
        self.waits: list[float] = []
        venue = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlparse(self.path).path
                venue.asked.append(path)
                status, headers, body = venue.script.get(path, (404, {}, '{"code": -1, "msg": "not scripted"}'))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body.encode()))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_: object) -> None:
                """Nothing on standard error."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def answer(self, path: str, body: Any, status: int = 200, **headers: str) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.script[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, text)

    def client(self, name: str = "binance") -> Any:
        exchange = getattr(ccxt, name)({part: key.reveal() for part, key in KEYS.items()})
        exchange.urls["api"] = self._here(exchange.urls["api"])
        exchange.enableRateLimit = False
        return exchange

    def _here(self, url: Any) -> Any:
        if isinstance(url, dict):
            return {name: self._here(value) for name, value in url.items()}
        return f"http://127.0.0.1:{self.server.server_port}{urlparse(url).path}"

    def read(self, venue: str = "binance", profile: str = "binance-usdm", **options: Any) -> live.Read:
        return read_live(venue, profile, KEYS, client=self.client(venue), sleep=self.waits.append, **options)

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


RESTRICTIONS, ACCOUNTS, RISKS = "/sapi/v1/account/apiRestrictions", "/fapi/v3/account", "/fapi/v3/positionRisk"
INDICES = "/fapi/v1/assetIndex"
ORDERS, PRICES = "/fapi/v1/openOrders", "/fapi/v1/ticker/price"


@pytest.fixture
def venue() -> Iterator[Venue]:
    found = Venue()
    found.answer(RESTRICTIONS, READ_ONLY)
    found.answer(ACCOUNTS, ACCOUNT)
    found.answer(RISKS, RISK)
    found.answer(INDICES, [])
    found.answer(ORDERS, [])
    found.answer(PRICES, [{"symbol": "BTCUSDT", "price": "60990.10", "time": 1764547200000}])
    yield found
    found.close()


def test_an_account_is_read_and_its_digits_are_the_venues(venue: Venue) -> None:
    venue.answer(ACCOUNTS, json.dumps(ACCOUNT).replace('"1000.10"', "1000.1000000000000000055"))
    read = venue.read()
    assert read.payloads[0]["assets"][0]["walletBalance"] == "1000.1000000000000000055"
    case = import_account([p for p in read.payloads if p], venue="binance", on=read.when).case()
    assert case.account.positions[0].entry_price == 60000
    assert case.market.mark_price == {"BTC/USDT:USDT": 61000}
    assert venue.asked == [RESTRICTIONS, ACCOUNTS, RISKS, INDICES, ORDERS, PRICES]


# failures -------------------------------------------------------------------------------------------------------------

FAILURES: list[tuple[str, int, Any, dict[str, str], str, int]] = [
    (
        "429, over and over",
        429,
        {"code": -1003, "msg": "Too many requests"},
        {"Retry_After": "2"},
        "limits the reads",
        TRIES,
    ),
    ("418 with a long ban", 418, {"code": -1003, "msg": "banned"}, {"Retry_After": "600"}, "limits the reads", 1),
    ("502 with a page", 502, "<html>Bad gateway</html>", {}, "is not available", TRIES),
    ("503", 503, "", {}, "is not available", TRIES),
    ("200 with a page", 200, "<html>Maintenance</html>", {}, "is a page|cannot be understood|could not be read", 1),
    ("truncated JSON", 200, '[{"symbol": "BTCUS', {}, "is not valid JSON", 1),
    (
        "401",
        401,
        {"code": -2015, "msg": f"Invalid API-key {CANARY}, IP, or permissions"},
        {},
        "does not accept the key",
        1,
    ),
    ("403", 403, "<html>Forbidden</html>", {}, "limits|not available|refused|does not", 1),
    ("an unknown code", 400, {"code": -9999, "msg": "what?"}, {}, "refused", 1),
]


@pytest.mark.parametrize(
    ("status", "body", "headers", "why", "tries"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_every_failure_of_a_venue_is_one_error_with_exit_code_6(
    venue: Venue, status: int, body: Any, headers: dict[str, str], why: str, tries: int
) -> None:
    venue.answer(RISKS, body, status, **headers)
    with pytest.raises(VenueError, match=why) as caught:
        venue.read()
    assert caught.value.exit_code == 6
    assert venue.asked.count(RISKS) in {tries, TRIES}
    assert CANARY not in str(caught.value)
    assert "signature" not in str(caught.value).replace("or signature)", "")


def test_retry_after_is_waited_for_and_then_it_goes_on(venue: Venue) -> None:
    venue.answer(RISKS, {"code": -1003, "msg": "Too many requests"}, 429, Retry_After="7")
    done: list[float] = []

    def sleep(seconds: float) -> None:
        done.append(seconds)
        venue.answer(RISKS, RISK)

    read = read_live("binance", "binance-usdm", KEYS, client=venue.client(), sleep=sleep)
    assert done == [7.0]
    assert read.payloads[1][0]["symbol"] == "BTCUSDT"


def test_a_venue_that_cannot_be_reached_is_told() -> None:
    gone = Venue()
    gone.close()
    with pytest.raises(VenueError, match=r"could not be reached|not available"):
        gone.read()
    assert len(gone.waits) == TRIES - 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"markPrice": None, "notional": None, "unRealizedProfit": None}, "market.mark_price.BTC/USDT:USDT"),
        ({"entryPrice": None, "unRealizedProfit": None}, "entry_price"),
        ({"positionAmt": None}, "quantity"),
        ({"symbol": "BTCUSDT-NEW-KIND"}, "not a contract name"),
    ],
)
def test_a_missing_field_or_a_null_price_is_named_and_exits_6(
    venue: Venue, change: dict[str, Any], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue.answer(RISKS, [{**RISK[0], **change}])
    done = _command(venue, monkeypatch, "import", "binance", "--live")
    assert isinstance(done.exception, VenueError)
    assert done.exception.exit_code == 6
    assert why in str(done.exception)


def _command(venue: Venue, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    monkeypatch.setenv("CROSSMARGIN_BINANCE_KEY", CANARY)
    monkeypatch.setenv("CROSSMARGIN_BINANCE_SECRET", OTHER)
    monkeypatch.setattr(live, "_client", lambda name, _keys: venue.client(name))
    return CliRunner().invoke(app, list(arguments))


def test_the_verb_writes_the_account_that_was_read(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    del venue.script[INDICES]
    venue.answer(INDICES, [])
    done = _command(venue, monkeypatch, "import", "binance", "--live")
    assert done.exit_code == 0, (done.output, done.exception)
    assert 'quantity = "-0.5"' in done.stdout
    for text in (done.output, str(done.exception)):
        assert CANARY not in text
        assert OTHER not in text


def test_the_verb_reconciles_what_was_read(venue: Venue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short 0.5 at 61,000: 30,500 x 0.4 % = 122 in the first bracket."""
    done = _command(venue, monkeypatch, "reconcile", "binance", "--live", "--json")
    rows = {row["figure"]: row for row in json.loads(done.stdout)["figures"]}
    assert rows["positions.BTC/USDT:USDT.maintenance_margin"]["verdict"] == "equal"
    assert rows["positions.BTC/USDT:USDT.notional"]["ours"] == "30500"


# keys -----------------------------------------------------------------------------------------------------------------

GRANTS: list[tuple[str, str, Any, str]] = [
    ("binance", RESTRICTIONS, {"enableReading": True, "enableFutures": True}, "enableFutures"),
    ("binance", RESTRICTIONS, {"enableReading": True, "enableWithdrawals": True}, "enableWithdrawals"),
    (
        "bybit",
        "/v5/user/query-api",
        {
            "retCode": 0,
            "result": {"readOnly": 0, "permissions": {"ContractTrade": ["Order", "Position"], "Wallet": []}},
        },
        "ContractTrade: Order, ContractTrade: Position",
    ),
    (
        "okx",
        "/api/v5/account/config",
        {"code": "0", "data": [{"acctLv": "2", "posMode": "net_mode", "perm": "read_only,trade,withdraw"}]},
        "trade, withdraw",
    ),
]


@pytest.mark.parametrize(("name", "path", "answer", "rights"), GRANTS)
def test_a_key_that_can_do_more_than_read_is_refused(
    venue: Venue, name: str, path: str, answer: Any, rights: str
) -> None:
    venue.answer(path, answer)
    with pytest.raises(VenueError, match="can do more than read") as caught:
        read_live(name, f"{name}-any", KEYS | {"password": Secret("x")}, client=_signed(venue, name))
    assert caught.value.faults[0].value == rights
    assert venue.asked == [path]


def _signed(venue: Venue, name: str) -> Any:
    exchange = venue.client(name)
    exchange.password = "x"
    return exchange


def test_such_a_key_is_taken_when_that_is_said(venue: Venue) -> None:
    venue.answer(RESTRICTIONS, {"enableReading": True, "enableFutures": True})
    assert venue.read(allow_trading_key=True).payloads[0]["assets"]
    assert RESTRICTIONS not in venue.asked


def test_a_bybit_key_that_only_reads_is_taken() -> None:
    assert RIGHTS["bybit"].excess({"result": {"readOnly": 1, "permissions": {"ContractTrade": ["Order"]}}}) == []
    assert RIGHTS["bybit"].excess({"result": {}}) == ["readOnly 0"]
    assert RIGHTS["okx"].excess({"data": [{"perm": "read_only"}]}) == []


class Plain:
    """A client of a venue without calls of its own here; ``by_symbol``: it lists orders one symbol at a time."""

    def __init__(self, *, by_symbol: bool) -> None:
        self.by_symbol = by_symbol
        self.asked: list[str | None] = []

    def fetch_balance(self, _parameters: Any) -> Any:
        return {}

    def fetch_positions(self) -> Any:
        return [{"symbol": name, "contracts": size} for name, size in (("A/USD:A", 1.0), ("B/USD:B", 0.0))]

    def fetch_open_orders(self, symbol: str | None = None) -> Any:
        self.asked.append(symbol)
        if symbol is None and self.by_symbol:
            raise ccxt.ArgumentsRequired("fetchOpenOrders() requires a symbol argument")
        return [{"id": symbol}]


@pytest.mark.parametrize(("by_symbol", "asked", "last"), [(False, [None], None), (True, [None, "A/USD:A"], "A/USD:A")])
def test_open_orders_are_read_at_once_or_by_symbol_of_the_positions(
    by_symbol: bool, asked: list[str | None], last: str | None
) -> None:
    client = Plain(by_symbol=by_symbol)
    read = read_live("phemex", "phemex", KEYS, client=client)
    assert client.asked == asked
    assert read.payloads[-1] == [{"id": last}]
    assert any("symbols without a position" in note for note in read.notes) is by_symbol


def test_open_orders_of_the_venue_are_in_the_account(venue: Venue) -> None:
    order = {
        "orderId": 1, "symbol": "BTCUSDT", "type": "LIMIT", "side": "SELL", "positionSide": "BOTH", "origQty": "0.2",
        "executedQty": "0.05", "price": "62000", "reduceOnly": False,
    }  # fmt: skip
    venue.answer(ORDERS, [order])
    read = venue.read()
    case = import_account([p for p in read.payloads if p], venue="binance", on=read.when).case()
    (found,) = case.account.open_orders
    assert (str(found.quantity), str(found.price)) == ("-0.15", "62000")
    assert str(case.market.last_price["BTC/USDT:USDT"]) == "60990.1"


def test_open_orders_that_the_venue_refuses_are_its_failure(venue: Venue) -> None:
    venue.answer(ORDERS, {"code": -2015, "msg": "no permission"}, 401)
    with pytest.raises(VenueError, match="does not accept the key"):
        venue.read()


def test_every_call_is_one_that_the_client_has() -> None:
    for profile, calls in CALLS.items():
        exchange = getattr(ccxt, profile.partition("-")[0])()
        assert all(hasattr(exchange, call.method) for call in calls), profile
    for name, right in RIGHTS.items():
        assert hasattr(getattr(ccxt, name)(), right.method), name


WAYS: list[Callable[[Secret], str]] = [repr, str, format, lambda s: f"{s}", lambda s: f"{[s]}", lambda s: "%s" % s]  # noqa: UP031 - the old way to format shows no secret either


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_does_not_show_itself(way: Callable[[Secret], str]) -> None:
    assert CANARY not in way(Secret(CANARY))


def test_a_secret_is_not_written_and_compares_by_what_it_holds() -> None:
    with pytest.raises(TypeError, match="not written"):
        pickle.dumps(Secret(CANARY))
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_key_stands_in_no_log_even_of_the_client(venue: Venue, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    exchange = live._client("binance", KEYS)
    exchange.urls["api"] = venue._here(exchange.urls["api"])
    venue.answer(RISKS, {"code": -2015, "msg": f"Invalid API-key {CANARY}"}, 401)
    with pytest.raises(VenueError):
        read_live("binance", "binance-usdm", KEYS, client=exchange, sleep=venue.waits.append)
    assert CANARY not in caplog.text
    assert OTHER not in caplog.text


def test_a_key_stands_in_no_message_of_the_command_line(
    venue: Venue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    venue.answer(ACCOUNTS, {"code": -2015, "msg": f"Invalid API-key {CANARY}"}, 401)
    monkeypatch.setenv("CROSSMARGIN_BINANCE_KEY", CANARY)
    monkeypatch.setenv("CROSSMARGIN_BINANCE_SECRET", OTHER)
    monkeypatch.setattr(live, "_client", lambda name, _keys: venue.client(name))
    monkeypatch.setattr("sys.argv", ["crossmargin", "import", "binance", "--live"])
    with pytest.raises(SystemExit) as caught:
        main()
    shown = "".join(capsys.readouterr())
    assert caught.value.code == 6
    assert "does not accept the key" in shown
    assert CANARY not in shown
    assert OTHER not in shown


def test_keys_come_from_the_environment_or_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret, "_from_keyring", lambda user: "kept" if user == "okx-password" else None)
    found = credentials("okx", {"CROSSMARGIN_OKX_KEY": "k", "CROSSMARGIN_OKX_SECRET": "s"})
    assert {name: part.reveal() for name, part in found.items()} == {"apiKey": "k", "secret": "s", "password": "kept"}
    with pytest.raises(VenueError, match="CROSSMARGIN_BYBIT_KEY"):
        credentials("bybit", {})


def test_a_keyring_that_fails_is_one_that_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def get_password(_service: str, _user: str) -> str:
            raise RuntimeError("no backend")

    monkeypatch.setattr(secret, "import_module", lambda _name: Broken)
    with pytest.raises(VenueError, match="CROSSMARGIN_BYBIT_KEY"):
        credentials("bybit", {})
