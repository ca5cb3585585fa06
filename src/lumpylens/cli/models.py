"""Verbs that train, use and compare models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lumpylens.cli.shell import (
    SOME_FAILED,
    Band,
    Cluster,
    Debug,
    Device,
    Json,
    Model,
    Quiet,
    Seed,
    app,
    going_on,
    look_here,
    say,
    settings_of,
)
from lumpylens.errors import DataError, ModelError


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="Images without substructure.")],
    band: Band = None,
    normal_only: Annotated[
        bool,
        typer.Option("--normal-only", help="Leave out all images that are not labelled normal."),
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model.")] = Path("model"),
    detector: Annotated[
        str,
        typer.Option(
            "--detector", help="Name listed by `lumpylens info`, or module:Class of your own."
        ),
    ] = "physics",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the detector; repeatable."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, or a model's config.")
    ] = None,
    seed: Seed = 0,
    contaminated: Annotated[
        bool,
        typer.Option(
            "--contaminated", help="Some may have substructure: leave out those that stand apart."
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue after the last finished epoch.")
    ] = False,
    device: Device = "auto",
    devices: Annotated[int, typer.Option("--devices", help="Processes per machine.")] = 1,
    nodes: Annotated[int, typer.Option("--nodes", help="Machines.")] = 1,
    precision: Annotated[
        str, typer.Option("--precision", help="Lightning's name, such as bf16-mixed.")
    ] = "32-true",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train a detector on normal images and calibrate it."""
    from lumpylens.verbs.train import is_first_process, train

    if ":" in detector:
        look_here()
    with going_on(lambda: _how_to_go_on(out)):
        model = train(
            data,
            detector,
            band=band,
            normal_only=normal_only,
            out=out,
            seed=seed,
            settings=settings_of(settings),
            config=config,
            contaminated=contaminated,
            resume=resume,
            device=device,
            devices=devices,
            nodes=nodes,
            precision=precision,
            progress=not quiet,
        )
    if not is_first_process(devices * nodes):
        return 0
    lines = [
        f"{detector} learned from {model.info['images']['train']} of "
        f"{model.info['images']['found']} images in {model.info['seconds']:.1f} s: {out}",
        *_learned_lines(model.info),
    ]
    say({"model": str(out), **model.info}, as_json, lines)
    return 0


@app.command()
def adapt(
    model: Model,
    data: Annotated[str, typer.Argument(help="Images; some may have substructure.")],
    band: Band = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the new model.")] = Path("adapted"),
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Bring a model to images with another blur, noise or population, without training."""
    from lumpylens.verbs.adapt import adapt

    adapted = adapt(model, data, band=band, out=out, device=device, progress=not quiet)
    lines = [
        f"{adapted.detector.name} adapted to {adapted.info['images']['train']} of "
        f"{adapted.info['images']['found']} images in {adapted.info['seconds']:.1f} s: {out}",
        *_learned_lines(adapted.info),
    ]
    say({"model": str(out), **adapted.info}, as_json, lines)
    return 0


def _learned_lines(info: Mapping[str, Any]) -> list[str]:
    """What else is to be said of a model that was just made."""
    lines, normal = [], info["normal"]
    if info["images"]["unreadable"]:
        lines.append(f"{info['images']['unreadable']} images could not be read")
    if "contaminated" in info:
        lines.append(
            f"{info['contaminated']['share']:.1%} of the images stand apart and were left out"
        )
    if normal["false_alarm_rate"] is not None:
        kind = "" if "contaminated" in info else "normal "
        lines.append(
            f"{normal['false_alarm_rate']:.1%} of {normal['test_images']} {kind}test images pass "
            f"the threshold for {normal['nominal_false_alarm_rate']:.1%}"
        )
    return lines


def _how_to_go_on(out: Path) -> str:
    run = out.with_name(f"{out.name}.run")
    if not any(run.rglob("*.ckpt")):
        return f"no epoch was finished and no model is in {out}; the same command starts again"
    return (
        f"no model is in {out} yet, but its finished epochs are in {run}: the same command with "
        "--resume continues after the last one"
    )


@app.command()
def score(
    model: Model,
    data: Annotated[
        list[str],
        typer.Argument(help="Folders or files of images; with --cluster also @LIST-OF-THEM."),
    ],
    band: Band = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Table: .csv, .ecsv or .parquet; with --cluster a folder."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", help="Folder for a page that shows the list.")
    ] = None,
    explain: Annotated[
        int, typer.Option("--explain", help="Highest ranks that the page explains.")
    ] = 50,
    fdr: Annotated[
        float, typer.Option("--fdr", help="False-discovery rate at which images are flagged.")
    ] = 0.05,
    submission: Annotated[
        Path | None,
        typer.Option("--submission", help="CSV file to write: ID,has_substructure for each image."),
    ] = None,
    lumpy_fraction: Annotated[
        float | None,
        typer.Option(
            "--lumpy-fraction",
            help="Of the submission: share of lumpy lenses; estimated by default.",
        ),
    ] = None,
    fpr: Annotated[
        float | None,
        typer.Option(
            "--fpr", help="Of the submission: false-positive rate, not the best accuracy."
        ),
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="The faster, less precise score, if the model has one.")
    ] = False,
    cluster: Cluster = None,
    top: Annotated[
        int, typer.Option("--top", help="With --cluster: number of images in top.csv.")
    ] = 100,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Rank images by how far they depart from normal ones."""
    if cluster is not None:
        if report is not None:
            raise DataError("--report shows one list; leave out --report or --cluster")
        if out is None:
            raise DataError("--cluster needs --out FOLDER for the tables of the shards")
        from lumpylens.scale import score_shards

        campaign = score_shards(
            model,
            data,
            out=out,
            band=band,
            cluster=cluster,
            fdr=fdr,
            submission=submission,
            lumpy_fraction=lumpy_fraction,
            fpr=fpr,
            top=top,
            fast=fast,
            device=device,
            progress=not quiet,
        )
        say(asdict(campaign), as_json, [repr(campaign)])
        return SOME_FAILED if campaign.failed or campaign.failed_shards else 0
    from lumpylens.verbs.score import score

    images = data if len(data) > 1 else data[0]
    table = score(
        model,
        images,
        band=band,
        out=out,
        report=report,
        explain=explain,
        fdr=fdr,
        submission=submission,
        lumpy_fraction=lumpy_fraction,
        fpr=fpr,
        fast=fast,
        device=device,
        progress=not quiet,
    )
    counts = {
        "images": len(table),
        "scored": len(table) - table.n_failed,
        "failed": table.n_failed,
        "warned": table.n_warned,
        "flagged": int(table.flag.sum()),
    }
    output: dict[str, Any] = {"out": str(out), **counts}
    if out is None:
        columns = table.columns()
        rows = zip(*columns.values(), strict=True)
        output = {**counts, "rows": [dict(zip(columns, row, strict=True)) for row in rows]}
    lines = [repr(table)]
    if out is not None:
        lines.append(f"all rows are in {out}")
    if submission is not None:
        submitted = table.submission(lumpy_fraction=lumpy_fraction, fpr=fpr).counts
        output |= {"submission": str(submission), "submitted": asdict(submitted)}
        lines.append(f"{submission}: {submitted}")
    if report is not None:
        output["report"] = str(report / "report.html")
        lines.append(f"report: {report / 'report.html'}")
    say(output, as_json, lines)
    return SOME_FAILED if table.n_failed else 0


@app.command()
def evaluate(
    model: Model,
    normal: Annotated[str, typer.Option("--normal", help="Images without substructure.")],
    anomalous: Annotated[str, typer.Option("--anomalous", help="Images with substructure.")],
    band: Band = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for report, metrics and scores.")] = (
        Path("results")
    ),
    explain: Annotated[
        int, typer.Option("--explain", help="Highest ranks that the report explains.")
    ] = 50,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Measure how well a model separates two classes; write the report."""
    from lumpylens.verbs.evaluate import evaluate

    evaluation = evaluate(
        model,
        normal=normal,
        anomalous=anomalous,
        band=band,
        out=out,
        explain=explain,
        seed=seed,
        device=device,
        progress=not quiet,
    )
    metrics = evaluation.metrics
    say(metrics, as_json, [repr(evaluation), f"report: {out / 'report.html'}"])
    return SOME_FAILED if metrics["n_failed_normal"] + metrics["n_failed_anomalous"] else 0


@app.command()
def benchmark(
    data: Annotated[
        str,
        typer.Argument(help="Folder with one sub-folder per class, or a population to simulate."),
    ],
    band: Band = None,
    detectors: Annotated[
        str | None,
        typer.Option(
            "--detectors", help="Names or module:Class, with commas; all names by default."
        ),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Numbers, with commas.")] = "0",
    once: Annotated[
        str | None, typer.Option("--once", help="Names of detectors to train with one seed only.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the table.")] = Path("results"),
    name: Annotated[
        str, typer.Option("--name", help="The page is NAME.html, the table NAME.md and NAME.json.")
    ] = "benchmark",
    reference: Annotated[
        bool, typer.Option("--reference", help="Add a classifier that is trained on labels.")
    ] = False,
    n: Annotated[int, typer.Option("--n", help="Images to simulate without substructure.")] = 2000,
    n_anomalous: Annotated[
        int, typer.Option("--n-anomalous", help="Images to simulate with substructure.")
    ] = 500,
    substructure: Annotated[
        str | None, typer.Option("--substructure", help="Kind of substructure to simulate.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Compare detectors on the same images.

    A run whose results are already in the folder is not repeated.
    """
    from lumpylens.verbs.benchmark.compare import benchmark

    if ":" in (detectors or ""):
        look_here()
    try:
        numbers = [int(word) for word in seeds.split(",")]
    except ValueError:
        raise ModelError(f"--seeds takes whole numbers with commas, got {seeds!r}") from None
    comparison = benchmark(
        data,
        None if detectors is None else _words(detectors),
        band=band,
        seeds=numbers,
        once=_words(once or ""),
        out=out,
        name=name,
        reference=reference,
        n=n,
        n_anomalous=n_anomalous,
        substructure=substructure,
        device=device,
        progress=not quiet,
    )
    pages = [comparison.markdown()]
    if comparison.compensated is not None:
        pages.append(comparison.compensated.markdown())
    pages.append(f"report: {out / f'{name}.html'}")
    say(comparison.to_dict(), as_json, pages)
    return SOME_FAILED if comparison.failed else 0


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
