"""The verbs for real lenses."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lumpylens.cli.shell import (
    SOME_FAILED,
    Band,
    Cluster,
    Debug,
    Json,
    Quiet,
    Seed,
    app,
    going_on,
    say,
)

PixelScale = Annotated[
    float | None,
    typer.Option("--pixel-scale", help="Arcsec per pixel, if the files do not have it."),
]
Redshifts = Annotated[
    Path | None, typer.Option("--redshifts", help="Table of id, lens_redshift, source_redshift.")
]


@app.command()
def fit(
    data: Annotated[str, typer.Argument(help="Folder of lenses with noise map and PSF.")],
    band: Band = None,
    out: Annotated[Path, typer.Option("--out", help="Table: .csv, .ecsv or .parquet.")] = Path(
        "fits.csv"
    ),
    pixel_scale_arcsec: PixelScale = None,
    redshifts: Redshifts = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="Folder for a figure of every lens.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder for a page that shows all lenses.")
    ] = None,
    products: Annotated[
        Path | None,
        typer.Option(
            "--products", help="Folder for residual, source and maps as FITS, and DS9 regions."
        ),
    ] = None,
    coolest: Annotated[
        Path | None,
        typer.Option("--coolest", help="Folder for a COOLEST template of every lens."),
    ] = None,
    script: Annotated[
        str | None,
        typer.Option(
            "--script", help="lenstronomy or pyautolens: scripts that continue the fits there."
        ),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Lenses fitted at once.")] = 1,
    cluster: Cluster = None,
    shard: Annotated[int, typer.Option("--shard", help="Lenses that a worker takes at once.")] = 1,
    priors: Annotated[
        list[str] | None,
        typer.Option(
            "--prior", help="Prior of the mass, such as slope=2.0,0.15 or shear=0.08; repeatable."
        ),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Fit real lenses that have noise map and PSF; look for a perturber in each.

    A run that was stopped is continued by the same command.
    """
    from lumpylens.lenses.outputs import script_folder
    from lumpylens.verbs.fit import fit

    with going_on(lambda: _how_to_go_on(out)):
        lenses = fit(
            data,
            band=band,
            out=out,
            pixel_scale_arcsec=pixel_scale_arcsec,
            redshifts=redshifts,
            figures=figures,
            report=report,
            products=products,
            coolest=coolest,
            script=script,
            workers=workers,
            cluster=cluster,
            shard=shard,
            priors=priors,
            seed=seed,
            progress=not quiet,
        )
    output: dict[str, Any] = {
        "file": str(out),
        "lenses": len(lenses),
        "failed": len(lenses.failed),
        "doubtful": len(lenses.doubtful),
        "rows": [asdict(row) for row in lenses],
    }
    lines = [repr(lenses), f"all rows are in {out}"]
    if products is not None:
        output["products"] = str(products)
        lines.append(f"FITS and region files are in {products}")
    if coolest is not None:
        output["coolest"] = str(coolest)
        lines.append(f"COOLEST templates are in {coolest}")
    if script is not None:
        scripts = script_folder(coolest, out)
        output["scripts"] = str(scripts)
        lines.append(f"scripts for {script} are in {scripts}")
    if report is not None:
        output["report"] = str(report / "report.html")
        lines.append(f"report: {report / 'report.html'}")
    say(output, as_json, lines)
    return SOME_FAILED if lenses.failed else 0


@app.command()
def sensitivity(
    data: Annotated[str, typer.Argument(help="Folder of lenses with noise map and PSF.")],
    band: Band = None,
    out: Annotated[Path, typer.Option("--out", help="Table: .csv, .ecsv or .parquet.")] = Path(
        "sensitivity.csv"
    ),
    pixel_scale_arcsec: PixelScale = None,
    redshifts: Redshifts = None,
    significance: Annotated[
        float, typer.Option("--significance", help="Signal-to-noise ratio that counts as seen.")
    ] = 5.0,
    profile: Annotated[
        str, typer.Option("--profile", help="Of the subhaloes: nfw or pseudo-jaffe.")
    ] = "nfw",
    concentration: Annotated[
        float, typer.Option("--concentration", help="Of nfw, times that of Duffy et al. 2008.")
    ] = 1.0,
    inflation: Annotated[
        bool, typer.Option("--inflation", help="Divide by the scatter of each lens's residuals.")
    ] = False,
    fraction: Annotated[
        float, typer.Option("--fraction", help="Of the lens's mass that is in subhaloes.")
    ] = 0.01,
    maps: Annotated[
        Path | None, typer.Option("--maps", help="Folder for a FITS map of every lens.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="PNG file of areas against mass.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", help="Lenses computed at once.")] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Say of every lens which subhaloes would be seen in its image, and rank lenses for follow-up.

    A run that was stopped is continued by the same command.
    """
    from lumpylens.verbs.sensitivity import sensitivity

    with going_on(lambda: _how_to_go_on(out)):
        lenses = sensitivity(
            data,
            band=band,
            out=out,
            pixel_scale_arcsec=pixel_scale_arcsec,
            redshifts=redshifts,
            significance=significance,
            profile=profile,
            concentration=concentration,
            inflation=inflation,
            fraction=fraction,
            maps=maps,
            figure=figure,
            workers=workers,
            progress=not quiet,
        )
    output: dict[str, Any] = {
        "file": str(out),
        "lenses": len(lenses),
        "failed": len(lenses.failed),
        "rows": [asdict(row) for row in lenses],
    }
    lines = [repr(lenses), f"all rows are in {out}"]
    for name, place in (("maps", maps), ("figure", figure)):
        if place is not None:
            output[name] = str(place)
            lines.append(f"{name}: {place}")
    say(output, as_json, lines)
    return SOME_FAILED if lenses.failed else 0


def _how_to_go_on(out: Path) -> str:
    if not out.is_file():
        return "no lens was fitted yet; the same command starts again"
    return f"the lenses that were fitted are in {out}; the same command continues with the others"
