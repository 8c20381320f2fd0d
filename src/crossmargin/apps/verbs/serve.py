"""``crossmargin serve`` and ``crossmargin token``: the service, and who may ask it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import Json, print_json
from crossmargin.errors import AccountError, Fault, MissingExtra

if TYPE_CHECKING:
    from crossmargin.apps.server.settings import Settings
    from crossmargin.apps.store.store import Store

StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        envvar="CROSSMARGIN_STORE",
        help="The store: a SQLite file or a PostgreSQL URL; by default service.db in the user's data directory.",
    ),
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose token: accounts of one tenant are unseen by another.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    token = typer.Typer(help="Who may ask the service: make, list and revoke tokens.", no_args_is_help=True)
    token.command("create")(create)
    token.command("list")(listed)
    token.command("revoke")(revoke)
    app.add_typer(token, name="token")


def serve(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; others than the loopback need tokens.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port; 0 takes a free one.")] = 8765,
    store: StorePlace = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", metavar="FILE", help="Tokens to know, a line each: TENANT SCOPE,SCOPE TOKEN."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="A host name that browsers call it by; repeat it."),
    ] = None,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Requests a second of one address or token.")] = 200,
    stale_after: Annotated[
        float, typer.Option("--stale-after", min=0, metavar="SECONDS", help="Age from which prices are called stale.")
    ] = 900,
    slow_timeout: Annotated[
        float,
        typer.Option("--slow-timeout", min=1, metavar="SECONDS", help="The longest a slow question may take."),
    ] = 60,
    monitor: Annotated[
        Path | None,
        typer.Option("--monitor", metavar="FILE", help="A monitor.toml: the channels that alerts are sent to."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, max=64, help="Processes that answer questions; 0: threads instead.")
    ] = 1,
    connections: Annotated[
        int, typer.Option("--connections", min=1, help="Connections at one time, streams too; who comes then gets 503.")
    ] = 4096,
    keep_days: Annotated[
        int,
        typer.Option(
            "--keep-days",
            min=0,
            max=36500,
            metavar="DAYS",
            help="Forget history and snapshots that are older, never what an account is now; 0: keep all.",
        ),
    ] = 400,
    row_security: Annotated[
        bool,
        typer.Option(
            "--row-security",
            help="Refuse to start where the database does not keep tenants apart by row-level security.",
        ),
    ] = False,
    journal: Annotated[
        str | None,
        typer.Option(
            "--journal",
            metavar="WHERE",
            envvar="CROSSMARGIN_JOURNAL",
            help="Books of record to keep: a journal made by `crossmargin clearing init`, a SQLite file or a URL.",
        ),
    ] = None,
    journal_tenant: Annotated[
        str, typer.Option("--journal-tenant", metavar="TENANT", help="Whose books they are; others find none.")
    ] = "local",
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
    empty: Annotated[bool, typer.Option("--empty", help="Do not put the example accounts into a new store.")] = False,
) -> None:
    """Start the service and its page, with a store of its own; on a new store with the article's example accounts."""
    from crossmargin.apps.server.settings import LOCAL, Settings

    kept = _store(store)
    try:
        _take(kept, token_file)
        settings = Settings(
            host=host,
            port=port,
            tokens=_has_tokens(kept),
            names=tuple(name or ()),
            rate=rate,
            burst=max(1, round(rate * 2)),
            stale_after=stale_after,
            slow_timeout=slow_timeout,
            monitor=None if monitor is None else str(monitor),
            workers=workers,
            connections=connections,
            keep_days=keep_days,
            row_security=row_security,
            journal=journal,
            journal_tenant=journal_tenant,
        )
        if kept.new and not empty and not settings.tokens:
            _seed(kept, LOCAL)
        _run(settings, kept, browser=browser)
    finally:
        kept.close()


def _run(settings: Settings, store: Store, *, browser: bool) -> None:
    """Listen until interrupted; the address is told when it is listened on."""
    import gc
    import socket

    try:
        import uvicorn

        from crossmargin.apps.server.app import create_app
        from crossmargin.apps.server.connections import KEEP_ALIVE_SECONDS, PING_SECONDS, Requests, Streaming
    except ImportError as error:
        raise MissingExtra("serve", f"needs {error.name}; install crossmargin[server]") from None
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(2048)  # who is quick waits a moment instead of being refused
    except OSError as error:
        listening.close()
        why = f"cannot be listened on: {error.strerror}; take another with --port"
        raise AccountError("serve", (Fault("--port", str(settings.port), why),)) from None
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{shown}:{listening.getsockname()[1]}/"

    class Serving(uvicorn.Server):
        """Says that it listens when it answers, and not before."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                typer.echo(f"crossmargin listens on {url} (store: {_told(store.where)}; Ctrl-C ends it)")
                sys.stdout.flush()  # whoever started it may wait for the line
                gc.freeze()  # what is there now stays: a collection that goes through it keeps prices waiting
                if browser:
                    _show(url)

    # a change of what is stored lets go of the interpreter often, and must not wait long for it each time
    sys.setswitchinterval(0.0005)
    # ended by the system as by an interrupt: the store is closed, and what other processes share is given back
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listening:  # let go of it where the service cannot be made
        config = uvicorn.Config(
            create_app(settings, store),
            log_level="warning",
            http=Requests,
            ws=Streaming,
            ws_max_size=settings.most_message,
            ws_per_message_deflate=False,
            ws_ping_interval=PING_SECONDS,
            ws_ping_timeout=PING_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            limit_concurrency=settings.connections + 1,  # the one that asks is among them
            server_header=False,
            timeout_graceful_shutdown=3,
        )
        Serving(config).run(sockets=[listening])


def _show(url: str) -> None:
    """Open the page beside whoever answers it; where there is no browser, nothing happens."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _told(where: str) -> str:
    from crossmargin.files.database import hidden

    return hidden(where)


# the store ------------------------------------------------------------------------------------------------------------


def data_directory() -> Path:
    """Where this user's programs keep their data: XDG, Application Support on a Mac, LocalAppData on Windows."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "crossmargin"


def _store(where: str | None) -> Store:
    from crossmargin.apps.store.store import Store

    return Store(where or str(data_directory() / "service.db"))


def _seed(store: Store, tenant: str) -> None:
    """The example accounts, as a first thing to look at."""
    from crossmargin.apps.examples import examples
    from crossmargin.apps.store.keeping import judged, keep

    ready = [judged({**raw, "id": name}, name, title=title) for name, title, raw in examples()]
    with store.changing(tenant) as tx:
        for one in ready:
            (stored,) = keep(store, tx, tenant, one)
            store.audit(tx, tenant, "crossmargin serve", "account.put", one.id, after=stored.snapshot)


def _has_tokens(store: Store) -> bool:
    from crossmargin.apps.store.tokens import tokens

    with store.reading(None) as tx:
        return bool(tokens(tx))


def _take(store: Store, path: Path | None) -> None:
    """Know the tokens of a file; those that are known already stay as they are."""
    from crossmargin.apps.store.store import digest
    from crossmargin.apps.store.tokens import create_token, tokens
    from crossmargin.files.text import read_bytes

    if path is None:
        return
    with store.reading(None) as tx:
        known = {token.digest for token in tokens(tx)}
    for number, line in enumerate(read_bytes(str(path), AccountError).decode("utf-8").splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 3 or len(words[2]) < 32:
            why = "must be TENANT SCOPE,SCOPE TOKEN, the token of 32 signs or more"
            raise AccountError(str(path), (Fault(f"line {number}", "", why),))
        tenant, scopes, secret = words
        if digest(secret) not in known:
            create_token(
                store, tenant, path.name, _scopes(scopes.split(",")), who="token file", days=None, secret=secret
            )


# tokens ---------------------------------------------------------------------------------------------------------------


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the token is for: desk, risk-report.")],
    tenant: Tenant = "local",
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="read, what-if, command or admin; repeat it. By default read and what-if."),
    ] = None,
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=3650, help="How long it holds; by default on.")
    ] = None,
    store: StorePlace = None,
    json: Json = False,
) -> None:
    """Make a token and print it, once; the store keeps only its SHA-256."""
    from crossmargin.apps.store.tokens import create_token

    kept = _store(store)
    try:
        secret, made = create_token(
            kept, tenant, name, _scopes(scope or ["read", "what-if"]), who="crossmargin token", days=days
        )
    finally:
        kept.close()
    if json:
        print_json({"token": secret, "id": made.id, "tenant": tenant, "scopes": made.scopes.split()})
    else:
        typer.echo(secret)
        typer.echo(f"token {made.id} of {tenant}: {made.scopes}; it is not shown again", err=True)


def _scopes(names: list[str]) -> tuple[str, ...]:
    known = ("read", "what-if", "command", "admin")
    wrong = [name for name in names if name not in known]
    if wrong:
        raise AccountError("token", (Fault("--scope", ", ".join(wrong), f"must be one of {', '.join(known)}"),))
    return tuple(name for name in known if name in names)


def listed(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only those of this tenant.")] = None,
    store: StorePlace = None,
    json: Json = False,
) -> None:
    """List the tokens, never their secrets: for whom, what they may, until when, last used."""
    from crossmargin.apps import tables
    from crossmargin.apps.store.tokens import tokens

    kept = _store(store)
    try:
        with kept.reading(tenant) as tx:
            found = tokens(tx, tenant)
    finally:
        kept.close()
    columns = ["id", "tenant", "name", "scopes", "expires_at", "used_at", "revoked_at"]
    rows: list[list[Any]] = [[getattr(token, column) for column in columns] for token in found]
    if json:
        print_json({"tokens": [dict(zip(columns, row, strict=True)) for row in rows]})
    else:
        body = [["-" if cell is None else cell for cell in row] for row in rows]
        tables.console.print(tables._figures("Tokens", columns, body, left=len(columns)))


def revoke(
    token: Annotated[str, typer.Argument(metavar="ID", help="The id of the token, as listed.")],
    store: StorePlace = None,
) -> None:
    """Revoke a token, at once: the next request that bears it is refused."""
    from crossmargin.apps.store.tokens import revoke_token

    kept = _store(store)
    try:
        ended = revoke_token(kept, None, token, who="crossmargin token")
    finally:
        kept.close()
    if ended is None:
        raise AccountError("token", (Fault("ID", token, "is no token's id; crossmargin token list shows them"),))
    typer.echo(f"token {token} is revoked since {ended.revoked_at}")
