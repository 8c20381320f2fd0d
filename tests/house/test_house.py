"""The house keeps its shape: the front door is light and complete, floors and registries agree."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import crossmargin as cm
from crossmargin.engine import kinds
from crossmargin.files.profiles import load_profile, profile_ids
from crossmargin.model.slots import Collateral, MaintenanceMargin

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "crossmargin"


def test_the_front_door_is_sorted_and_opens() -> None:
    assert cm.__all__ == sorted(cm.__all__)
    for name in cm.__all__:
        assert getattr(cm, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = cm.nonsense


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "'pydantic', 'numpy', 'typer', 'rich', 'numba'"
    code = f"import sys, crossmargin; print([m for m in ({heavy}) if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_judging_loads_no_array_library() -> None:
    code = (
        "import sys, crossmargin as cm; cm.evaluate(*cm.load('examples/article-3.1.toml'));"
        "print([m for m in ('numpy', 'numba', 'pandas', 'typer', 'rich') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_inner_module_imports_the_front_door(path: Path) -> None:
    if path == SOURCE / "__init__.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert all(alias.name != "crossmargin" for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.module != "crossmargin"


@pytest.mark.parametrize("path", sorted((SOURCE / "analytics").glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_each_analysis_opens_with_its_question(path: Path) -> None:
    first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
    assert first.endswith("?")


def test_every_kind_a_profile_may_name_has_its_arithmetic() -> None:
    assert set(get_args(Collateral.model_fields["kind"].annotation)) == set(kinds.COLLATERAL)
    named = set(get_args(MaintenanceMargin.model_fields["kind"].annotation))
    pool_wide = {"highest_rate", "fraction_of_initial", "worst_scenario"}  # formed over the legs, in prepare
    assert named == set(kinds.BY_NOTIONAL) | set(kinds.BY_COUNT) | pool_wide


@pytest.mark.parametrize("name", profile_ids())
def test_every_profile_loads_and_says_where_its_rules_come_from(name: str) -> None:
    profile = load_profile(name)
    for rules in profile.revisions:
        assert rules.sources
        for source in rules.sources.values():
            assert source.url or source.status == "assumed" or profile.venue == "textbook"


def test_the_pages_of_the_venues_are_those_of_the_profiles() -> None:
    from crossmargin.apps.venue_pages import pages

    written = pages(ROOT / "docs" / "venues")
    stale = [path.name for path, text in written.items() if not path.exists() or path.read_text() != text]
    assert stale == [], "run: crossmargin venues docs docs/venues"
    assert {path.name for path in (ROOT / "docs" / "venues").glob("*.md")} == {path.name for path in written}
