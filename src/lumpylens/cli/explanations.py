"""The verb that explains scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lumpylens.cli.shell import SOME_FAILED, Band, Data, Debug, Device, Json, Model, Quiet, app, say


@app.command()
def explain(
    model: Model,
    data: Data,
    ids: Annotated[
        list[str] | None, typer.Option("--id", help="Name of an image; repeatable. All if none.")
    ] = None,
    band: Band = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for one figure per image.")] = (
        Path("explained")
    ),
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Draw what is behind the scores of single images."""
    from lumpylens.verbs.explain import explain

    found = explain(model, data, ids or None, band=band, out=out, device=device, progress=not quiet)
    failed = [one for one in found if one.error]
    rows = [
        {
            "id": one.id,
            "sentence": one.sentence,
            "scores": {part.name: part.value for part in one.scores},
            "p_values": {part.name: part.p_value for part in one.scores},
            "surprises_sigma": {each.parameter: each.sigma for each in one.surprises},
            "warning": one.warning,
            "error": one.error,
        }
        for one in found
    ]
    drawn = any(one.image is not None for one in found)
    lines = [repr(found), *([f"figures are in {out}"] if drawn else [])]
    say({"out": str(out) if drawn else None, "rows": rows}, as_json, lines)
    return SOME_FAILED if failed else 0
