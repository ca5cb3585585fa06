"""The verb that writes models for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lumpylens.cli.shell import Debug, Json, Model, Quiet, app, say


@app.command()
def export(
    model: Model,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; by default MODEL.FORMAT here.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="safetensors, pt2 or onnx; by default the ending of --out."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Write a model as one file for other programs."""
    from lumpylens.verbs.export import export

    file = export(model, out=out, format=format)
    size = file.stat().st_size
    say({"file": str(file), "bytes": size}, as_json, [f"{file}: {size / 1e6:.2g} MB"])
    return 0
