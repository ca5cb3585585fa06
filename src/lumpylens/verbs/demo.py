"""The whole program on simulated lenses, in three minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lumpylens.data.images import LensImages
from lumpylens.data.npz import check_npz_place, write_npz
from lumpylens.verbs.evaluate import evaluate
from lumpylens.verbs.score import score
from lumpylens.verbs.train import train

__all__ = ["demo"]

DETECTOR = "physics"
SETTINGS = {"sample": 80, "near_epochs": 0}
POPULATION = "slc"
SUBSTRUCTURE = "points"
EXPLAINED = 12
"""Ranks that the report explains."""

N_LEARNED, N_FRESH = 600, 100
"""Smooth lenses to learn from, and lenses of each kind to test with.

A tenth of the former calibrates, 39 with seed 0: lumpy lenses can be flagged at a
false-discovery rate of 0.05 as soon as half of them score above all of those.
"""


def demo(
    *, out: str | Path = "lumpylens-demo", seed: int = 0, progress: bool = True
) -> dict[str, Any]:
    """Simulate smooth and lumpy lenses, train, score, evaluate, and write a report.

    Parameters
    ----------
    out : str or Path
        Folder for images, model, scores and report.
    seed : int
    progress : bool
        Show progress on standard error.

    Returns
    -------
    dict
        ``report``, ``model``, ``scores`` and ``images``: where they are; ``auc`` of the lenses
        that the model never saw; ``lumpy``, the number of lumpy ones, and ``flagged``, how many
        of those are flagged at a false-discovery rate of 0.05.

    Raises
    ------
    DataError
        If `out` cannot be written.
    """
    from lumpylens.simulation import simulate

    folder = Path(out)
    places = {name: folder / f"{name}.npz" for name in ("smooth", "fresh", "lumpy")}
    for place in places.values():
        check_npz_place(place)
    for k, (name, n, lumps) in enumerate(
        (("smooth", N_LEARNED, None), ("fresh", N_FRESH, None), ("lumpy", N_FRESH, SUBSTRUCTURE))
    ):
        images = simulate(POPULATION, n, seed=seed + k, substructure=lumps, progress=progress)
        write_npz(images, places[name])

    model = train(
        places["smooth"], DETECTOR, out=folder / "model", seed=seed, settings=SETTINGS,
        progress=progress,
    )  # fmt: skip
    table = score(model, places["lumpy"], out=folder / "scores.csv", progress=progress)
    evaluation = evaluate(
        model,
        normal=LensImages.open(places["smooth"]) + LensImages.open(places["fresh"]),
        anomalous=places["lumpy"],
        out=folder / "report",
        explain=EXPLAINED,
        progress=progress,
    )
    return {
        "images": str(folder),
        "model": str(folder / "model"),
        "scores": str(folder / "scores.csv"),
        "report": str(folder / "report" / "report.html"),
        "auc": evaluation.metrics["auc"],
        "lumpy": len(table),
        "flagged": int(table.flag.sum()),
    }
