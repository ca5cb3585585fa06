"""The verb for sets of lenses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lumpylens.cli.shell import (
    SOME_FAILED,
    Band,
    Cluster,
    Debug,
    Json,
    Model,
    Quiet,
    Seed,
    app,
    going_on,
    say,
    settings_of,
)


@app.command()
def population(
    model: Model,
    data: Annotated[str, typer.Argument(help="Folder or file of lenses, of whatever class.")],
    band: Band = None,
    out: Annotated[
        Path, typer.Option("--out", help="Folder for numbers, page and simulated lenses.")
    ] = Path("population"),
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", help="Population like that of the set, or a TOML file; as simulate."
        ),
    ] = "slc",
    substructure: Annotated[
        str, typer.Option("--substructure", help="Kind whose fraction is inferred; as simulate.")
    ] = "points-compensated",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the substructure; repeatable."
        ),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option("--sources", help="Images of galaxies to put behind the simulated lenses."),
    ] = None,
    largest: Annotated[
        float, typer.Option("--largest", help="Largest fraction that is considered.")
    ] = 0.1,
    prior: Annotated[
        str, typer.Option("--prior", help="Of the fraction: uniform or log-uniform.")
    ] = "uniform",
    simulations: Annotated[
        int, typer.Option("--simulations", help="Number of simulated lenses.")
    ] = 10_000,
    cache: Annotated[
        Path | None,
        typer.Option("--cache", help="Folder for the simulated lenses, for other sets, too."),
    ] = None,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option("--workers", help="Processes that simulate.")] = 1,
    cluster: Cluster = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Infer how much of the mass of many lenses is in substructure, from all of them together.

    A run that was stopped is continued by the same command. Exit status 1: some images were left
    out, or the set is not like simulated ones and has no fraction.
    """
    from lumpylens.verbs.population import NUMBERS, SIMULATED, population

    kept = out / SIMULATED if cache is None else cache
    with going_on(lambda: f"the same command continues with the simulated lenses in {kept}"):
        found = population(
            model,
            data,
            out=out,
            band=band,
            recipe=recipe,
            substructure=substructure,
            settings=settings_of(settings),
            sources=sources,
            largest=largest,
            prior=prior,
            simulations=simulations,
            cache=cache,
            seed=seed,
            workers=workers,
            cluster=cluster,
            progress=not quiet,
        )
    lines = [repr(found), f"all numbers are in {out / NUMBERS}, the page in {out / 'report.html'}"]
    say({"file": str(out / NUMBERS), **found.to_dict()}, as_json, lines)
    return SOME_FAILED if found.n_failed or found.posterior is None else 0
