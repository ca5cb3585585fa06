"""Verbs that bring, make and describe images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lumpylens.cli.shell import Debug, Json, Out, Quiet, Seed, app, say


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of the data: slc.")] = "slc",
    out: Out = None,
    source: Annotated[
        str | None, typer.Option("--from", help="URL or path of a mirror or an offline copy.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Fetch the challenge's images and check them."""
    from lumpylens.data.fetch import fetch

    folder = fetch(name, out=out, source=source, progress=not quiet)
    say({"folder": str(folder)}, as_json, [str(folder)])
    return 0


@app.command()
def simulate(
    preset: Annotated[str, typer.Argument(help="Name of a population of lenses.")] = "slc",
    n: Annotated[int, typer.Option("--n", help="Number of images.")] = 300,
    out: Annotated[Path, typer.Option("--out", help="npz file to write.")] = Path("lenses.npz"),
    substructure: Annotated[
        str | None, typer.Option("--substructure", help="Kind of substructure; none by default.")
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Simulate lens images."""
    from lumpylens.npz import check_npz_place, write_npz

    check_npz_place(out)
    from lumpylens.simulate import simulate

    images = simulate(preset, n, seed=seed, substructure=substructure, progress=not quiet)
    write_npz(images, out)
    say({"file": str(out), "images": len(images)}, as_json, [f"{len(images)} images in {out}"])
    return 0


@app.command()
def info(
    what: Annotated[str | None, typer.Argument(help="A model, or images.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Describe a model, images, or lumpylens itself."""
    from lumpylens import describe

    found = describe.describe(what, progress=not quiet)
    say(found, as_json, describe.lines(found))
    return 0


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything it makes.")] = (
        Path("lumpylens-demo")
    ),
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Show everything on simulated lenses."""
    from lumpylens.demo import demo

    made = demo(out=out, seed=seed, progress=not quiet)
    lines = [f"AUC of lenses that the model never saw: {made['auc']:.3f}"]
    say(made, as_json, lines + [f"{key}: {made[key]}" for key in ("model", "scores", "report")])
    return 0
