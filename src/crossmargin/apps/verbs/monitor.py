"""``crossmargin monitor``: accounts watched, alerts raised and sent."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmargin.apps.options import Json, print_json
from crossmargin.errors import Fault, ProfileError

if TYPE_CHECKING:
    from crossmargin.apps.monitor.config import MonitorConfig
    from crossmargin.apps.monitor.judge import Alert

monitor = typer.Typer(
    help="Watch accounts: alerts on levels, distance, runway, stale data and more, sent to people.",
    no_args_is_help=True,
)

Config = Annotated[str, typer.Argument(metavar="CONFIG", help="The configuration, such as monitor.toml.")]
StateOf = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help="Only those that are open, acknowledged or cleared.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(monitor, name="monitor")


@monitor.command()
def check(config: Config, json: Json = False) -> None:
    """Check a configuration, its files and its secrets without watching anything; every fault at once."""
    found = _config(config, surroundings=True)
    rules = found.all_rules()
    if json:
        print_json(
            {
                "accounts": list(found.accounts),
                "channels": {name: channel.kind for name, channel in found.channels.items()},
                "rules": [rule.model_dump(mode="json") for rule in rules],
            }
        )
        return
    from crossmargin.apps import tables
    from crossmargin.apps.monitor.rules import KINDS

    rows = [
        [
            rule.id,
            f"{rule.kind} {tables.shown(rule.raises_at)} or {KINDS[rule.kind].harm}",
            tables.shown(rule.clears_at),
            rule.weight,
            "; ".join(f"{step.after_seconds} s: {', '.join(step.channels)}" for step in rule.escalation),
        ]
        for rule in rules
    ]
    columns = ["rule", "raised when", "clears at", "severity", "told after"]
    tables.console.print(tables._figures("Rules", columns, rows, left=5))
    typer.echo(f"{config}: good; {len(found.accounts)} sources, {len(rules)} rules, {len(found.channels)} channels")


@monitor.command()
def run(
    config: Config,
    once: Annotated[
        bool, typer.Option("--once", help="Judge every account once, send what is due, and stop (for cron).")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings only.")] = False,
) -> None:
    """Watch until stopped (SIGINT, SIGTERM); what is remembered is in the store, so a restart goes on where it was."""
    found = _config(config, surroundings=True)
    _log(quiet)
    if once:
        from crossmargin.apps.monitor.once import run_once

        result = run_once(found)
        typer.echo(
            f"{result.judged} accounts judged; {result.open} alerts stand; {result.arrived} messages sent, "
            f"{result.waiting} waiting"
        )
        raise typer.Exit(result.exit_code)
    from crossmargin.apps.monitor.running import run as watch

    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    typer.echo(f"watching {len(found.accounts)} sources; stop with Ctrl-C", err=True)
    watch(found, stop)


@monitor.command()
def test(
    config: Config,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", "-c", metavar="NAME", help="Only this channel; repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """The test button: send a test message to each channel now, and say what happened; exit 6 if one did not arrive."""
    from crossmargin.apps.monitor.running import trial

    found = _config(config)
    names = channel or list(found.channels)
    unknown = [name for name in names if name not in found.channels]
    if unknown:
        why = f"is no channel of {config}; there are {', '.join(found.channels)}"
        raise ProfileError("--channel", [Fault("--channel", name, why) for name in unknown])
    _log(False)
    outside = found.outside()
    results = {name: trial(found.channels[name], outside) for name in names}
    if json:
        print_json({name: {"sent": result.sent, "why": result.why} for name, result in results.items()})
    else:
        for name, result in results.items():
            typer.echo(f"{name}: {'sent' if result.sent else 'NOT SENT: ' + result.why}")
    raise typer.Exit(0 if all(result.sent for result in results.values()) else 6)


@monitor.command()
def alerts(config: Config, state: StateOf = None, json: Json = False) -> None:
    """List the alerts, the newest first; exit 4 if a critical one stands, 3 if another does."""
    if state not in (None, "open", "acknowledged", "cleared"):
        raise ProfileError("--state", (Fault("--state", state, "must be open, acknowledged or cleared"),))
    from crossmargin.apps.monitor.running import opened

    with opened(_config(config)) as monitoring:
        found = monitoring.alerts(state=state)
    if json:
        from crossmargin.model.report import to_plain

        print_json({"alerts": [{**to_plain(alert), "state": alert.state} for alert in found]})
    else:
        _show(found)
    standing = [alert for alert in found if alert.state != "cleared"]
    raise typer.Exit(4 if any(one.severity == "critical" for one in standing) else 3 if standing else 0)


@monitor.command()
def acknowledge(
    config: Config,
    alert: Annotated[str, typer.Argument(metavar="ID", help="The alert, or the first signs of its id.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who has seen it.")] = "operator",
) -> None:
    """Say that somebody has seen an alert: its escalation stops; it clears by itself when all is well."""
    from crossmargin.apps.monitor.running import opened

    with opened(_config(config)) as monitoring:
        found = [one.id for one in monitoring.alerts() if one.id.startswith(alert)]
        if len(found) != 1:
            why = "is the beginning of several alerts' ids" if found else "is no alert here"
            raise ProfileError("acknowledge", (Fault("ID", alert, why),))
        with monitoring.store.changing(monitoring.tenant) as tx:
            monitoring.acknowledge(tx, found[0], by[:128], datetime.now(UTC))
            monitoring.store.audit(tx, monitoring.tenant, by[:128], "alert.acknowledge", found[0])
    typer.echo(f"{found[0]} acknowledged by {by}")


def _config(path: str, *, surroundings: bool = False) -> MonitorConfig:
    """The configuration, and on request what it refers to."""
    from crossmargin.apps.monitor.config import faults_of_surroundings, load_config

    found = load_config(path)
    if surroundings and (faults := faults_of_surroundings(found)):
        raise ProfileError(path, faults)
    return found


def _log(quiet: bool) -> None:
    """Our own log on standard error; a library's requests would hold addresses."""
    log = logging.getLogger("crossmargin.monitor")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.handlers[:] = [handler]
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    log.propagate = False


def _show(found: list[Alert]) -> None:
    from crossmargin.apps import tables

    rows: list[list[Any]] = [
        [
            one.id[:8],
            one.raised_at.strftime("%Y-%m-%d %H:%M:%S"),
            one.account,
            one.rule,
            one.severity,
            one.state + (f" by {one.acknowledged_by}" if one.acknowledged_by else ""),
            one.words,
        ]
        for one in found
    ]
    columns = ["id", "raised (UTC)", "account", "rule", "severity", "state", "what"]
    tables.console.print(tables._figures("Alerts", columns, rows, left=7) if rows else "no alerts")
