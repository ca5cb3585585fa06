"""The verb for real lenses."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lumpylens.cli.shell import SOME_FAILED, Band, Debug, Json, Quiet, Seed, app, say


@app.command()
def fit(
    data: Annotated[str, typer.Argument(help="Folder of lenses with noise map and PSF.")],
    band: Band = None,
    out: Annotated[Path, typer.Option("--out", help="Table: .csv, .ecsv or .parquet.")] = Path(
        "fits.csv"
    ),
    pixel_scale: Annotated[
        float | None,
        typer.Option("--pixel-scale", help="Arcsec per pixel where the files do not say."),
    ] = None,
    redshifts: Annotated[
        Path | None,
        typer.Option("--redshifts", help="Table of id, lens_redshift, source_redshift."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for a figure of every lens.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Lenses fitted at once.")] = 1,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Fit real lenses that have noise map and PSF; look for a perturber in each."""
    from lumpylens.verbs.fit import fit

    rows = fit(
        data,
        band=band,
        out=out,
        pixel_scale_arcsec=pixel_scale,
        redshifts=redshifts,
        figures=figures,
        workers=workers,
        seed=seed,
        progress=not quiet,
    )
    failed = [row for row in rows if row.error]
    doubtful = [row for row in rows if not row.error and not row.trusted]
    lines = [f"{len(rows) - len(failed)} of {len(rows)} lenses fitted: {out}"]
    if doubtful:
        lines.append(f"{len(doubtful)} of them in doubt; the column quality says why")
    if failed:
        lines.append(f"{len(failed)} failed; the first is {failed[0].id}: {failed[0].error}")
    found = {
        "file": str(out),
        "lenses": len(rows),
        "failed": len(failed),
        "doubtful": len(doubtful),
    }
    say({**found, "rows": [asdict(row) for row in rows]}, as_json, lines)
    return SOME_FAILED if failed else 0
