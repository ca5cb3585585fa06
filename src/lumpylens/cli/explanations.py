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
    """Explain the scores of single images, with a figure of each."""
    from lumpylens.results.position import ROW_ZERO
    from lumpylens.verbs.explain import explain

    explanations = explain(
        model, data, ids or None, band=band, out=out, device=device, progress=not quiet
    )
    failed = [explanation for explanation in explanations if explanation.error]
    rows = [
        {
            "id": explanation.id,
            "sentence": explanation.sentence,
            "where": explanation.peak_words,
            "peak_px": peak and [peak.column_px, peak.row_px],
            "scores": {part.name: part.value for part in explanation.scores},
            "p_values": {part.name: part.p_value for part in explanation.scores},
            "surprises_sigma": {
                surprise.parameter: surprise.sigma for surprise in explanation.surprises
            },
            "warning": explanation.warning,
            "error": explanation.error,
        }
        for explanation in explanations
        for peak in [explanation.peak]
    ]
    any_figure = any(explanation.image is not None for explanation in explanations)
    lines = [
        repr(explanations),
        *([f"figures are in {out}; {ROW_ZERO} in them"] if any_figure else []),
    ]
    say({"out": str(out) if any_figure else None, "rows": rows}, as_json, lines)
    return SOME_FAILED if failed else 0
