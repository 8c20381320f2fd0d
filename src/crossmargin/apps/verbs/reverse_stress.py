"""crossmargin reverse-stress: which plausible market move kills first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from crossmargin.apps.options import File, Json, On, ProfileName, asked, named_numbers, print_json, read_subject

if TYPE_CHECKING:
    from crossmargin.analytics.barrier import LiquidationProbability
    from crossmargin.analytics.covariance import Covariance
    from crossmargin.analytics.reverse_stress import ReverseStress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="reverse-stress")(reverse_stress)


def reverse_stress(
    file: File,
    json: Json = False,
    profile: ProfileName = None,
    on: On = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="CSV of daily closes: date, then a column a coin; the covariance's source.",
        ),
    ] = None,
    volatility: Annotated[
        list[str] | None,
        typer.Option(
            "--volatility", metavar="COIN=FRACTION", help="Instead: the daily volatility of each coin; repeat it."
        ),
    ] = None,
    correlation: Annotated[
        str, typer.Option("--correlation", metavar="FRACTION", help="With it, one correlation for every pair.")
    ] = "0",
    horizon: Annotated[
        str | None, typer.Option("--horizon", metavar="DAYS", help="Also the probability within so many days.")
    ] = None,
    tails: Annotated[
        str | None,
        typer.Option(
            "--tails", metavar="DEGREES", help="Student-t moves with so many degrees of freedom; by default normal."
        ),
    ] = None,
    paths: Annotated[int, typer.Option("--paths", help="Paths of the simulation.")] = 20_000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulation.")] = 0,
) -> None:
    """Say which plausible move liquidates the account first, how far it is, and how likely within a horizon."""
    from crossmargin.apps import questions
    from crossmargin.files.scenarios import load_history

    options = asked(
        questions.ReverseStressOptions,
        history=None if history is None else load_history(history),
        volatility=named_numbers("--volatility", volatility),
        correlation=correlation,
        horizon=horizon,
        tails=tails,
        paths=paths,
        seed=seed,
    )
    found = questions.reverse_stress(read_subject(file, profile, on), options)
    if json:
        print_json(found)
    else:
        _show(found["reverse_stress"], found.get("probability"), questions.covariance_of(options))
    raise typer.Exit({"already": 4, "unknown": 5}.get(found["reverse_stress"].kind, 0))


def _show(found: ReverseStress, chance: LiquidationProbability | None, covariance: Covariance) -> None:
    from crossmargin.apps.tables import console, shown

    if found.kind == "already":
        console.print(f"already liquidatable: {found.pool}", style="bold red")
    elif found.kind in ("never", "unknown"):
        console.print(f"{found.kind}: {found.words}")
    else:
        console.print(found.words, style="bold")
        console.print(f"liquidates {found.pool} at {float(found.distance or 0):.4g} standard deviations of one day")
        bound = (
            "proved: no nearer move does" if found.proved else f"no move nearer than {found.certified_bound:.4g} does"
        )
        console.print(f"{bound} ({found.examined} boxes); headroom there {shown(found.headroom)} {found.currency}")
    if chance is not None:
        moves = f"t({shown(chance.degrees_of_freedom)}) moves" if chance.degrees_of_freedom else "normal moves"
        text = f"within {shown(chance.horizon_days)} days, {moves}: {float(chance.probability):.3%}"
        if chance.method == "simulated":
            text += f" (95 %: {float(chance.low):.3%} to {float(chance.high):.3%}, {chance.paths:,} paths)"
        if chance.nearest is not None:
            text += f"; through the nearest boundary alone, normal moves: {float(chance.nearest):.3%}"
        console.print(text)
    if covariance.shrinkage is not None:
        console.print(f"covariance: {covariance.days} days, shrinkage {covariance.shrinkage:.3f}", style="dim")
    for note in dict.fromkeys((*found.notes, *(chance.notes if chance else ()))):
        console.print(f"note: {note}", style="dim")
