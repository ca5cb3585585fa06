"""The command line: one verb per public function, in the same words.

A verb imports what it needs when it is called, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
import math
import sys
import tomllib
import traceback
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from lumpylens.errors import DataError, DataWarning, LumpylensError, ModelError

__all__ = ["app", "main"]

SOME_FAILED, USER_ERROR, DEFECT, INTERRUPTED = 1, 2, 70, 130
"""Exit statuses beside 0. A defect of ours must not be taken for images that failed."""

app = typer.Typer(
    name="lumpylens",
    epilog="Exit status: 0 done, 1 done but some images could not be scored, 2 a mistake.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[str, typer.Argument(help="Folder or file of images.")]
Model = Annotated[str, typer.Argument(help="Model folder, or a name listed by `lumpylens info`.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write.")]
Seed = Annotated[int, typer.Option("--seed", help="Decides everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and no warnings.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lumpylens {version('lumpylens')}")
        raise typer.Exit


@app.callback()
def _common(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find dark-matter substructure in strong-lensing images without being shown any."""


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
    _say({"folder": str(folder)}, as_json, [str(folder)])
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
    _say({"file": str(out), "images": len(images)}, as_json, [f"{len(images)} images in {out}"])
    return 0


@app.command()
def train(
    data: Annotated[str, typer.Argument(help="Images without substructure.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the model.")] = Path("model"),
    detector: Annotated[
        str, typer.Option("--detector", help="Name listed by `lumpylens info`.")
    ] = "physics",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the detector; repeatable."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings, or a model's config.")
    ] = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last finished epoch.")
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
    from lumpylens.train import is_first_process, train

    model = train(
        data,
        detector,
        out=out,
        seed=seed,
        settings=_settings(config, settings or []),
        resume=resume,
        device=device,
        devices=devices,
        nodes=nodes,
        precision=precision,
        progress=not quiet,
    )
    if not is_first_process(devices * nodes):
        return 0
    images, normal = model.info["images"], model.info["normal"]
    lines = [
        f"{detector} learned from {images['train']} of {images['found']} images "
        f"in {model.info['seconds']:.1f} s: {out}"
    ]
    if images["unreadable"]:
        lines.append(f"{images['unreadable']} images could not be read")
    if normal["false_alarm_rate"] is not None:
        lines.append(
            f"{normal['false_alarm_rate']:.1%} of {normal['test_images']} normal test images pass "
            f"the threshold for {normal['nominal_false_alarm_rate']:.1%}"
        )
    _say({"model": str(out), **model.info}, as_json, lines)
    return 0


@app.command()
def score(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", help="Table: .csv, .ecsv or .parquet.")
    ] = None,
    fdr: Annotated[
        float, typer.Option("--fdr", help="False-discovery rate at which images are flagged.")
    ] = 0.05,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Rank images by how far they depart from normal ones."""
    from lumpylens.score import score

    table = score(model, data, out=out, fdr=fdr, device=device, progress=not quiet)
    counts = {
        "images": len(table),
        "scored": len(table) - table.n_failed,
        "failed": table.n_failed,
        "warned": table.n_warned,
        "flagged": int(table.flag.sum()),
    }
    shown: dict[str, Any] = {"out": str(out), **counts}
    if out is None:
        columns = table.columns()
        shown = {**counts, "rows": [dict(zip(columns, row, strict=True)) for row in
                                    zip(*columns.values(), strict=True)]}  # fmt: skip
    _say(shown, as_json, [repr(table), *([f"all rows are in {out}"] if out else [])])
    return SOME_FAILED if table.n_failed else 0


@app.command()
def evaluate(
    model: Model,
    normal: Annotated[str, typer.Option("--normal", help="Images without substructure.")],
    anomalous: Annotated[str, typer.Option("--anomalous", help="Images with substructure.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for report, metrics and scores.")] = (
        Path("results")
    ),
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Measure a model on two classes; write the report."""
    from lumpylens.evaluate import evaluate

    evaluation = evaluate(
        model, normal=normal, anomalous=anomalous, out=out, device=device, progress=not quiet
    )
    metrics = evaluation.metrics
    _say(metrics, as_json, [repr(evaluation), f"report: {out / 'report.html'}"])
    return SOME_FAILED if metrics["n_failed_normal"] + metrics["n_failed_anomalous"] else 0


@app.command()
def benchmark(
    data: Annotated[str, typer.Argument(help="Folder with one sub-folder per class.")],
    detectors: Annotated[
        str | None, typer.Option("--detectors", help="Names, with commas; all by default.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Numbers, with commas.")] = "0",
    out: Annotated[Path, typer.Option("--out", help="Folder for the table.")] = Path("results"),
    name: Annotated[
        str, typer.Option("--name", help="The table is NAME.md and NAME.json.")
    ] = "benchmark",
    reference: Annotated[
        bool, typer.Option("--reference", help="Add a classifier that is trained on labels.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Compare detectors on the same images.

    A run that is already in the folder of results is not made again.
    """
    from lumpylens.benchmark import benchmark

    try:
        numbers = [int(word) for word in seeds.split(",")]
    except ValueError:
        raise ModelError(f"--seeds takes whole numbers with commas, got {seeds!r}") from None
    result = benchmark(
        data,
        None if detectors is None else [word.strip() for word in detectors.split(",")],
        seeds=numbers,
        out=out,
        name=name,
        reference=reference,
        device=device,
        progress=not quiet,
    )
    _say(result, as_json, [(out / f"{name}.md").read_text(encoding="utf-8")])
    return SOME_FAILED if result["failed"] else 0


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
    _say(found, as_json, describe.lines(found))
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
    _say(made, as_json, lines + [f"{key}: {made[key]}" for key in ("model", "scores", "report")])
    return 0


def _settings(config: Path | None, assignments: Iterable[str]) -> dict[str, Any]:
    """Settings of a file, and on top of them those given as ``name=value``."""
    settings: dict[str, Any] = {}
    if config is not None:
        try:
            values = tomllib.loads(config.read_text(encoding="utf-8"))
        except OSError as problem:
            raise DataError(f"cannot read {config}: {problem.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise DataError(f"{config} is not valid TOML: {problem}") from None
        settings.update(values.get("settings", values))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ModelError(f"--set takes NAME=VALUE, got {assignment!r}")
        try:
            settings[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            settings[key.strip()] = text
    return settings


def _say(found: Mapping[str, Any], as_json: bool, lines: Iterable[str]) -> None:
    """The result, on standard output: for a program or for a person."""
    text = json.dumps(_plain(found), allow_nan=False) if as_json else "\n".join(lines)
    typer.echo(text)


def _plain(value: Any) -> Any:
    """The same in types that JSON has; a missing number is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _complain(text: str) -> None:
    """One line on standard error."""
    typer.echo(f"lumpylens: {' '.join(text.split())}", err=True)


def main() -> None:
    """Run the command line: a mistake is one line on standard error, and exit status 2."""
    arguments = sys.argv[1:]

    def warn(message: Warning | str, *_: Any, **__: Any) -> None:
        _complain(f"warning: {message}")

    warnings.showwarning = warn
    if "--debug" not in arguments:
        # What other packages have to say of their future is no news to a user.
        warnings.simplefilter("ignore")
        if "--quiet" not in arguments:
            warnings.simplefilter("default", DataWarning)
    try:
        status = app(arguments or ["--help"], prog_name="lumpylens", standalone_mode=False) or 0
        if status == INTERRUPTED:
            _complain("stopped; no half-made result is left, and train --resume goes on")
    except typer.TyperException as problem:
        context = getattr(problem, "ctx", None)
        place = context.command_path if context else "lumpylens"
        _complain(f"{problem.format_message().rstrip('.')} (see {place} --help)")
        status = USER_ERROR
    except LumpylensError as problem:
        if "--debug" in arguments:
            traceback.print_exc()
        _complain(str(problem))
        status = USER_ERROR
    except Exception:  # noqa: BLE001 - Python's own exit status would be that of SOME_FAILED
        traceback.print_exc()
        _complain("this is a defect of lumpylens; please report it with the lines above")
        status = DEFECT
    sys.exit(status)


if __name__ == "__main__":
    main()
