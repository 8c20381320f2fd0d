"""The second wall: in PostgreSQL a transaction sees and writes rows of the tenant that it runs for, whatever is asked.

Every statement here is one that ours would be if they had forgotten the tenant. In SQLite nothing holds them: what it
does with each stands beside what PostgreSQL does, so that nobody takes the one for the other.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from typer.testing import CliRunner

from crossmargin.apps.cli import app as cli
from crossmargin.apps.server.app import create_app
from crossmargin.apps.server.settings import Settings
from crossmargin.apps.store import tables
from crossmargin.apps.store.keeping import judged, keep
from crossmargin.apps.store.store import Store
from crossmargin.apps.store.tables import ACCOUNTS
from crossmargin.apps.store.tokens import create_token, tokens, use_token
from crossmargin.errors import AccountError, StoreError

from .conftest import SERVER, account

# among them names that might mean something where a tenant is said, or silence
TENANTS = ["one", "two", "*", "", "=", "=one"]
TABLES = {found.name: found for found in vars(tables).values() if isinstance(found, sa.Table) and "tenant" in found.c}
NUMBERS = ("tries", "place", "seq", "status")


def on_postgres(store: Store) -> bool:
    return "://" in store.where


def row(table: sa.Table, tenant: str) -> dict[str, Any]:
    """A row of any table; columns that hold numbers in one table hold texts in another, and a text may be a number."""
    return {column.name: 7 if column.name in NUMBERS else "7" for column in table.c} | {"tenant": tenant}


def fill(store: Store) -> None:
    """One row a tenant in every table."""
    for tenant in TENANTS:
        with store.changing(tenant) as tx:
            for table in TABLES.values():
                own = {"digest": tenant, "id": tenant} if table.name == "tokens" else {}
                tx.execute(table.insert(), row(table, tenant) | own)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_statement_without_a_tenant_sees_and_changes_its_own_rows_alone(store: Store, name: str) -> None:
    fill(store)
    table, column = TABLES[name], TABLES[name].c.tenant
    other = table.c.keys()[-1]  # no key ends with it
    for tenant in TENANTS:
        with store.reading(tenant) as tx:
            seen = sorted(tx.execute(sa.select(column)).scalars())
        assert seen == ([tenant] if on_postgres(store) else sorted(TENANTS))
    with store.changing("one") as tx:
        assert tx.execute(table.update().values({other: "8"})).rowcount == (1 if on_postgres(store) else len(TENANTS))
    with store.changing("two") as tx:
        assert tx.execute(table.delete().where(column == "one")).rowcount == (0 if on_postgres(store) else 1)
        assert tx.execute(table.delete()).rowcount == (1 if on_postgres(store) else len(TENANTS) - 1)
    with store.reading(None) as tx:  # the service's own work goes through all of them
        left = sorted(tx.execute(sa.select(column)).scalars())
    assert left == (sorted({*TENANTS} - {"two"}) if on_postgres(store) else [])


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_row_of_another_tenant_is_refused(store: Store, name: str) -> None:
    table = TABLES[name]
    for said, written in (("one", "two"), ("*", "one"), ("", "one"), ("one", "*")):

        def written_wrongly(said: str = said, written: str = written) -> None:
            with store.changing(said) as tx:
                tx.execute(table.insert(), row(table, written) | ({"digest": said + written, "id": said + written}
                                                                  if name == "tokens" else {}))  # fmt: skip

        if on_postgres(store):
            with pytest.raises(StoreError, match="row-level security"):
                written_wrongly()
    with store.changing("one") as tx:  # nor is a row given away
        own = {"digest": "a", "id": "a"} if name == "tokens" else {}
        tx.execute(table.insert(), row(table, "one") | own)
    if on_postgres(store):
        with pytest.raises(StoreError, match="row-level security"), store.changing("one") as tx:
            tx.execute(table.update().values(tenant="two"))
    with store.reading(None) as tx:
        assert tx.execute(sa.select(table.c.tenant)).scalars().all() == ["one"]


def test_who_does_not_say_for_whom_sees_nothing(store: Store) -> None:
    fill(store)
    engine = store._database.engine
    for _ in range(2):  # a connection that is fresh, and one that has said a tenant in a transaction before
        with engine.begin() as tx:
            counts = {
                name: tx.execute(sa.select(sa.func.count()).select_from(TABLES[name])).scalar() for name in TABLES
            }
        assert set(counts.values()) == ({0} if on_postgres(store) else {len(TENANTS)})
        engine.dispose()
        with store.reading(None):
            pass


def test_every_table_with_a_tenant_has_the_policy_and_its_owner_is_held_by_it(store: Store) -> None:
    with store.reading(None) as tx:
        if not on_postgres(store):
            assert store.no_wall is not None and "SQLite" in store.no_wall
            return
        columns = (
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'tenant' AND table_schema = 'public'"
        )
        there = set(tx.execute(sa.text(columns)).scalars())
        policies = tx.execute(
            sa.text("SELECT tablename, permissive, roles::text, cmd, qual, with_check FROM pg_policies")
        ).fetchall()
        forced = sa.text("SELECT relname FROM pg_class WHERE relrowsecurity AND relforcerowsecurity")
        assert there == TABLES.keys() == {one.tablename for one in policies} == set(tx.execute(forced).scalars())
    assert len(policies) == len(there)  # a second policy would open what the first one closes
    assert {(one.permissive, one.roles, one.cmd) for one in policies} == {("PERMISSIVE", "{public}", "ALL")}
    assert {one.qual for one in policies} == {one.with_check for one in policies}
    assert len({one.qual for one in policies}) == 1
    assert store.no_wall is None


def test_the_service_goes_by_it_end_to_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store's own query, its tenant mistaken: by HTTP nobody sees or changes what is another's."""
    secret, _ = create_token(store, "two", "a test", ("read", "what-if", "command", "admin"), who="test", days=None)
    with store.changing("one") as tx:
        keep(store, tx, "one", judged(account(), "theirs"))
    mistaken = Store.accounts, Store.account, Store.snapshot, Store.delete_account
    monkeypatch.setattr(Store, "accounts", lambda self, tx, _: mistaken[0](self, tx, "one"))
    monkeypatch.setattr(Store, "account", lambda self, tx, _, name: mistaken[1](self, tx, "one", name))
    monkeypatch.setattr(Store, "snapshot", lambda self, tx, _, *of: mistaken[2](self, tx, "one", *of))
    monkeypatch.setattr(Store, "delete_account", lambda self, tx, _, name: mistaken[3](self, tx, "one", name))
    held = on_postgres(store)
    with TestClient(
        create_app(Settings(tokens=True), store), "http://localhost", headers={"Authorization": f"Bearer {secret}"}
    ) as client:
        assert len(client.get("/v1/accounts").json()["accounts"]) == (0 if held else 1)
        assert client.get("/v1/accounts/theirs").status_code == (404 if held else 200)
        asked = client.post("/v1/questions/evaluate", json={"account_id": "theirs"})
        assert asked.status_code == (404 if held else 200)
        assert client.delete("/v1/accounts/theirs").status_code == (404 if held else 204)
    with store.reading(None) as tx:
        assert len(tx.execute(sa.select(ACCOUNTS.c.id)).fetchall()) == (1 if held else 0)


def test_tokens_are_found_by_who_bears_them_and_listed_to_their_tenant(store: Store) -> None:
    made = {tenant: create_token(store, tenant, "a test", ("read",), who="test", days=None)[1] for tenant in ("a", "b")}
    found = use_token(store, made["a"].digest)
    assert found is not None and found.tenant == "a"
    with store.reading("a") as tx:
        assert [one.tenant for one in tokens(tx)] == (["a"] if on_postgres(store) else ["a", "b"])


# whether there is one -------------------------------------------------------------------------------------------------


def roles(store: Store) -> list[tuple[str, str | None]]:
    """Roles that the database may be opened by, each with what is said of it; on SQLite there are none."""
    name = store.where.rpartition("/")[2].partition("?")[0]
    return [("SUPERUSER", f"{name} is a superuser"), ("NOSUPERUSER BYPASSRLS", "bypass"), ("NOBYPASSRLS", None)]


def test_a_role_that_no_policy_holds_is_told_at_the_start(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    if not on_postgres(store):
        with TestClient(create_app(Settings(), store)):
            pass
        assert caplog.records == []  # SQLite is what one machine has: it is said in the docs, not at every start
        return
    assert SERVER is not None
    server = sa.create_engine(SERVER, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = sa.make_url(store.where).username
    for right, why in roles(store):
        with server.connect() as connection:
            connection.execute(sa.text(f"ALTER ROLE {name} {right}"))
        caplog.clear()
        with closing(Store(store.where)) as again, TestClient(create_app(Settings(), again)):
            pass
        said = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(said) == (0 if why is None else 1)
        assert why is None or (why in said[0] and "a role of its own" in said[0])
    server.dispose()


def test_a_service_that_must_have_it_does_not_start_without(store: Store) -> None:
    settings = Settings(row_security=True)
    if on_postgres(store):
        create_app(settings, store).state.work.close()
        return
    with pytest.raises(AccountError, match="SQLite has no row-level security; keep the store in PostgreSQL"):
        create_app(settings, store)
    found = CliRunner().invoke(cli, ["serve", "--row-security", "--store", store.where, "--empty", "--port", "0"])
    assert isinstance(found.exception, AccountError)
