"""What deploy/ and docs/operating.md name is there: commands, options, variables, routes, figures, and it parses."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from crossmargin.apps.cli import app as cli
from crossmargin.apps.server.app import create_app, described
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store.store import Store
from crossmargin.clearing.journal import Journal

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "operating.md").read_text()
CONTAINER = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "crossmargin.service").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("service")
    journal = str(folder / "books.db")
    Journal(journal).close()
    store = Store(str(folder / "service.db"))
    app = create_app(Settings(journal=journal), store)
    yield app
    app.state.books.close()
    app.state.work.close()
    store.close()


# libraries ------------------------------------------------------------------------------------------------------------


def test_the_container_pins_every_library_it_is_built_from_by_its_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = project["dependencies"] + [
        r for name in ("store", "postgres", "plot", "server", "optimize") for r in extras[name]
    ]
    asked = [requirement for requirement in asked if not requirement.startswith("crossmargin[")]
    wanted = [line for line in (DEPLOY / "requirements.in").read_text().splitlines() if not line.startswith("#")]
    assert wanted == asked
    pins = (DEPLOY / "requirements.txt").read_text()
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+) \\\n +--hash=sha256:[0-9a-f]{64}", pins, re.MULTILINE))
    assert {re.split(r"[\[>]", requirement)[0] for requirement in asked} <= pinned.keys()
    stray = [line for line in pins.splitlines() if not re.match(r"[\w.-]+==\S+ \\$| +--hash=sha256:[0-9a-f]{64}", line)]
    assert stray == [], "a line without a hash, or an address"


# commands and options -------------------------------------------------------------------------------------------------


def commands(text: str) -> list[list[str]]:
    """Every `crossmargin ...` of a text, as words; lines that end in a backslash are one."""
    joined = re.sub(r"\\\n\s*", "", text)
    found = re.findall(r"(?:^|[\s`/])crossmargin ((?:[a-z-]+ ?)[^\n`|]*)", joined)
    return [shlex.split(line, comments=True) for line in found]


def unknown(words: list[str]) -> list[str]:
    """What of a command line is no command and no option of ours."""
    command: Any = get_command(cli)
    rest = list(words)
    while rest and hasattr(command, "commands"):
        if rest[0] not in command.commands:
            return [rest[0]]
        command = command.commands[rest.pop(0)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return [word for word in rest if word.startswith("-") and word != "-" and word not in known]


def told_commands() -> list[list[str]]:
    """The commands in the page's code, in the unit and in the container files."""
    blocks = re.findall(r"^(?:    [^\n]*\n)+|^```sh\n.*?^```", PAGE, re.MULTILINE | re.DOTALL)
    inline = re.findall(r"`(crossmargin [^`]+)`", PAGE)
    found = [words for block in [*blocks, *inline] for words in commands(block)]
    (start,) = re.findall(r"^ExecStart=(\S+) (.*)$", UNIT, re.MULTILINE)
    (container,) = re.findall(r"^CMD (\[.*\])$", CONTAINER, re.MULTILINE)
    return [*found, start[1].split(), json.loads(container), COMPOSE["services"]["service"]["command"]]


def test_every_command_and_option_exists() -> None:
    found = told_commands()
    # the service by unit, container and compose; the first token; books, partitions, monitor, copies
    assert len(found) > 25
    heads = {tuple(words[:2]) for words in found}
    assert {("token", "create"), ("clearing", "verify"), ("monitor", "run"), ("clearing", "partitions")} <= heads
    assert [(words, wrong) for words in found if (wrong := unknown(words))] == []


def test_a_command_that_is_not_there_would_be_found() -> None:
    assert unknown(["serve", "--no-open", "--journla", "x"]) == ["--journla"]
    assert unknown(["clearing", "partitions", "restore"]) == ["restore"]
    assert unknown(["backup"]) == ["backup"]


def test_every_variable_is_read_by_the_program() -> None:
    texts = [PAGE, CONTAINER, UNIT, (DEPLOY / "compose.yaml").read_text()]
    named = {name for text in texts for name in re.findall(r"\bCROSSMARGIN_[A-Z_]+\b", text)}
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    assert named == {"CROSSMARGIN_STORE", "CROSSMARGIN_JOURNAL"}
    assert [name for name in named if f'"{name}"' not in source] == []


def test_every_file_and_route_that_the_page_names_exists(service: Any) -> None:
    paths = described(service)["paths"]
    shown = {(method, path.partition("?")[0]) for method, path in re.findall(r"`(GET|POST|PUT) (/[^`\s]*)`", PAGE)}
    assert len(shown) >= 8
    assert [one for one in shown if one[0].lower() not in paths.get(one[1], {})] == []
    files = set(re.findall(r"deploy/[\w.-]+", PAGE)) - {"deploy/secrets"}
    assert files == {f"deploy/{path.name}" for path in DEPLOY.iterdir() if path.is_file()} - {"deploy/Containerfile"}


def test_the_extras_that_are_installed_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        name
        for text in (PAGE, CONTAINER)
        for found in re.findall(r"\[([a-z,]+)\]\"", text)
        for name in found.split(",")
    }
    assert named == {"server", "postgres", "optimize"}
    assert named <= extras.keys()


# containers and the unit ----------------------------------------------------------------------------------------------


def test_the_container_runs_as_nobody_and_is_looked_after(service: Any) -> None:
    assert re.findall(r"^FROM (\S+)", CONTAINER, re.MULTILINE) == ["docker.io/library/python:3.12-slim"] * 2
    assert re.findall(r"^USER (\d+):(\d+)$", CONTAINER, re.MULTILINE) == [("10001", "10001")]
    assert CONTAINER.index("USER") < CONTAINER.index("ENTRYPOINT")
    checks = [CONTAINER, " ".join(COMPOSE["services"]["service"]["healthcheck"]["test"])]
    for text in checks:
        (url,) = re.findall(r"urlopen\('http://localhost:(\d+)(/\w+)'", text)
        assert url == (str(Settings().port), "/health")
        assert url[1] in described(service)["paths"]


def test_the_composition_shows_nothing_but_the_loopback_and_keeps_its_secret() -> None:
    services = COMPOSE["services"]
    ports = [port for one in services.values() for port in one.get("ports", ())]
    assert ports == [f"127.0.0.1:{Settings().port}:{Settings().port}"]
    assert COMPOSE["networks"]["inside"]["internal"] is True
    assert services["database"]["networks"] == ["inside"]
    # the database's own superuser is nobody's: the service comes as a role that row-level security holds
    assert services["database"]["environment"].keys() == {"POSTGRES_PASSWORD_FILE"}
    user = re.search(r"//(\w+)@database/(\w+)$", services["service"]["environment"]["CROSSMARGIN_STORE"])
    role = (DEPLOY / "role.sh").read_text()
    assert user is not None and f"CREATE ROLE {user[1]} LOGIN PASSWORD" in role
    assert f"CREATE DATABASE {user[2]} OWNER {user[1]};" in role and "SUPERUSER" not in role
    assert "./role.sh:/docker-entrypoint-initdb.d/role.sh:ro" in services["database"]["volumes"]
    assert "--row-security" in services["service"]["command"]
    assert "database" in COMPOSE["volumes"] and services["database"]["volumes"][0].startswith("database:")
    assert COMPOSE["secrets"]["database_password"].keys() == {"file"}
    for one in services.values():
        assert one["secrets"] == ["database_password"]
        assert one["healthcheck"]["test"]
        for name, value in one["environment"].items():
            assert "PASSWORD" not in name or value == "/run/secrets/database_password"
            assert not re.search(r"://[^/@]*:[^/@]*@", value), "no password in a URL"
    assert services["service"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert services["service"]["read_only"] is True and services["service"]["cap_drop"] == ["ALL"]


def test_the_entry_point_hands_the_secret_to_the_program_alone(tmp_path: Path) -> None:
    """The shell line of the composition, run with a program that shows what it was given."""
    entry = COMPOSE["services"]["service"]["entrypoint"]
    secret = tmp_path / "password"
    secret.write_text('it\'s "secret" $HOME\n')
    shows = tmp_path / "crossmargin"
    shows.write_text('#!/bin/sh\nprintf "%s|" "$PGPASSWORD" "$@"\n')
    shows.chmod(0o755)
    line = entry[2].replace("$$", "$").replace("/run/secrets/database_password", str(secret))
    words = [*entry[:2], line, *entry[3:], "serve", "--name", "a b"]
    found = subprocess.run(words, capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert found.stdout == 'it\'s "secret" $HOME|serve|--name|a b|'


def test_the_unit_is_hardened_and_understood(tmp_path: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, allow_no_value=True)
    parser.optionxform = str
    parser.read_string(UNIT)
    asked = {
        "DynamicUser": "yes", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "ProtectHome": "yes",
        "PrivateTmp": "yes", "PrivateDevices": "yes", "CapabilityBoundingSet": "", "RestrictNamespaces": "yes",
    }  # fmt: skip
    assert {name: parser["Service"][name] for name in asked} == asked
    folder = "/var/lib/" + parser["Service"]["StateDirectory"]
    assert parser["Service"]["Environment"] == f"CROSSMARGIN_STORE={folder}/service.db"
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:  # only where systemd is; a file is understood alike everywhere
        unit = tmp_path / "crossmargin.service"
        unit.write_text(UNIT.replace("/opt/crossmargin/bin/crossmargin", sys.executable))
        found = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
        assert (found.returncode, found.stdout + found.stderr) == (0, "")


# figures --------------------------------------------------------------------------------------------------------------


def exported(service: Any) -> dict[str, set[str]]:
    """Names of samples and their labels, as /metrics has them after some requests."""
    meter = service.state.meter
    meter.count("GET", "/health", 200, 0.001)
    found: dict[str, set[str]] = {}
    for line in meter.text()[0].decode().splitlines():
        if not line.startswith("#"):
            name, _, labels = line.partition("{")
            found.setdefault(name.split()[0], set()).update(re.findall(r"(\w+)=\"", labels))
    return found


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text())
    drawn = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    alarms = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(drawn) >= 10 and len(alarms) >= 6
    return [*drawn, *alarms]


def test_boards_and_alarms_ask_for_what_the_service_exports(service: Any) -> None:
    known = exported(service)
    asked: set[str] = set()
    for expr in expressions():
        names = set(re.findall(r"\bcrossmargin_\w+", expr))
        asked |= names
        assert names or "up{" in expr
        assert names <= known.keys(), expr
        labels = set(re.findall(r"(\w+)(?:=~|=|!=)\"", expr))
        labels |= {label.strip() for by in re.findall(r"by \(([^)]*)\)", expr) for label in by.split(",")}
        allowed = set.union(*(known[name] for name in names)) if names else {"job"}
        assert labels <= allowed, expr
        for route in re.findall(r"route=\"([^\"]+)\"", expr):
            assert route in described(service)["paths"]
    tabled = set(re.findall(r"^\| `(crossmargin_\w+)`", PAGE, re.MULTILINE))
    ours = {name for name in known if not name.endswith(("_created", "_sum", "_count"))}
    assert tabled == {name.removesuffix("_bucket") for name in ours}
    assert asked <= known.keys()


def test_alarms_are_whole_and_prometheus_asks_with_a_token() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert config["rule_files"] == ["prometheus-rules.yml"]
    (job,) = config["scrape_configs"]
    assert (job["metrics_path"], job["authorization"]["type"]) == ("/metrics", "Bearer")
    assert "credentials" not in job["authorization"]
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
    assert rules["groups"][0]["rules"][0]["expr"] == f'up{{job="{job["job_name"]}"}} == 0'
