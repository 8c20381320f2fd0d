"""Databases: two sets of tables side by side, and one clear error for what is no database."""

from __future__ import annotations

from pathlib import Path

import pytest

import crossmargin as cm
from crossmargin.apps.store.store import Store
from crossmargin.clearing.desk import Desk
from crossmargin.clearing.journal import Journal


def test_the_service_and_the_books_may_share_one_database(tmp_path: Path) -> None:
    where = str(tmp_path / "one.db")
    for _ in range(2):  # made, then found as they were left
        journal, store = Journal(where), Store(where)
        desk = Desk(journal)
        assert desk.seq == 0
        store.close()
        journal.close()


@pytest.mark.parametrize("where", ["nonsense://", "postgresql+psycopg://me:secret@127.0.0.1:1/none"])
def test_what_is_no_database_is_one_error_without_its_password(where: str) -> None:
    with pytest.raises(cm.JournalError) as told:
        Journal(where)
    assert "secret" not in str(told.value)
    assert [fault.path for fault in told.value.faults] == ["database"]
