"""Verbs that download, simulate and describe images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lumpylens.cli.shell import (
    SOME_FAILED,
    Band,
    Cluster,
    Debug,
    Device,
    Json,
    Out,
    Quiet,
    Seed,
    app,
    say,
    settings_of,
)
from lumpylens.errors import DataError


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
    preset: Annotated[
        str, typer.Argument(help="Name of a population of lenses, or a TOML file of your own.")
    ] = "slc",
    n: Annotated[int, typer.Option("--n", help="Number of images.")] = 300,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File that ends in .h5, .npz or .npy, or a folder; with --cluster a folder.",
        ),
    ] = Path("lenses.h5"),
    substructure: Annotated[
        str | None,
        typer.Option(
            "--substructure",
            help="points, spheres, haloes, string, one or the population's own; NAME-compensated "
            "takes its mass from the halo. None by default.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A setting of the substructure; repeatable."
        ),
    ] = None,
    seed: Seed = 0,
    indices: Annotated[
        str | None,
        typer.Option("--index", help="Numbers of the images to make, such as 7 or 0-99,250."),
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(
            "--sources",
            help="galaxies (real ones, in the package), sersic, or images of galaxies of your own.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="hdf5, roman, npz or npy; for a folder fits, jpeg or png."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes.")] = 1,
    cluster: Cluster = None,
    shard: Annotated[
        int, typer.Option("--shard", help="With --cluster: images in each file.")
    ] = 1000,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Simulate lens images.

    A run that was stopped is continued by the same command.
    """
    if cluster is not None:
        if indices is not None or format is not None or workers != 1:
            raise DataError(
                "--cluster makes HDF5 files of all images: leave out --index, --format "
                "and --workers"
            )
        from lumpylens.scale import simulate_shards

        campaign = simulate_shards(
            preset,
            n,
            out=out,
            cluster=cluster,
            shard=shard,
            seed=seed,
            substructure=substructure,
            settings=settings_of(settings),
            sources=sources,
            device=device,
            progress=not quiet,
        )
        say(asdict(campaign), as_json, [repr(campaign)])
        return SOME_FAILED if campaign.failed_shards else 0
    from lumpylens.simulation import simulate

    images = simulate(
        preset,
        n,
        seed=seed,
        substructure=substructure,
        settings=settings_of(settings),
        indices=None if indices is None else _numbers(indices),
        sources=sources,
        out=out,
        format=format,
        workers=workers,
        device=device,
        progress=not quiet,
    )
    say({"file": str(out), "images": len(images)}, as_json, [f"{len(images)} images in {out}"])
    return 0


def _numbers(text: str) -> list[int]:
    """Read numbers and ranges with commas, such as 0-99,250."""
    numbers: list[int] = []
    for word in text.split(","):
        first, dash, last = word.strip().partition("-")
        try:
            numbers += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            raise DataError(f"--index takes numbers such as 7 or 0-99,250; got {text!r}") from None
    return numbers


@app.command()
def info(
    what: Annotated[str | None, typer.Argument(help="A model, or images.")] = None,
    band: Band = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", help="File to draw the first four images into, as they are read."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Describe a model, images, or lumpylens itself."""
    from lumpylens.verbs.info import info

    description = info(what, band=band, figure=figure, progress=not quiet)
    say(description.facts, as_json, [repr(description)])
    return 0


@app.command()
def demo(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for all results; lumpylens-demo by default."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Show everything on simulated lenses."""
    from lumpylens.verbs.demo import demo

    demonstration = demo(out=out, seed=seed, progress=not quiet)
    say(demonstration.to_dict(), as_json, [repr(demonstration)])
    return 0
