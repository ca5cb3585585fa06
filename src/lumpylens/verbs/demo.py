"""The whole program on simulated lenses, in three minutes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.data.images import LensImages
from lumpylens.data.npz import check_npz_place, write_npz
from lumpylens.results.score_table import ScoreTable
from lumpylens.results.summary import Summary
from lumpylens.verbs.evaluate import evaluate
from lumpylens.verbs.score import score
from lumpylens.verbs.train import train

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Demonstration", "demo"]

FOLDER = "lumpylens-demo"
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


@dataclass(frozen=True, repr=False)
class Demonstration(Summary):
    """What the demo made, and how good it was.

    Attributes
    ----------
    images, model, scores, report : Path
        Folder of the images, folder of the model, table of scores, page.
    auc : float
        Of the lenses that the model never saw.
    lumpy, flagged : int
        Lumpy lenses, and how many of those are flagged at a false-discovery rate of 0.05.
    """

    images: Path
    model: Path
    scores: Path
    report: Path
    auc: float
    lumpy: int
    flagged: int

    def to_dict(self) -> dict[str, Any]:
        """Places and numbers."""
        return asdict(self)

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame` of the lumpy lenses' scores, one row per lens.

        Raises
        ------
        DataError
            If pandas is not installed, or the file of scores is gone.
        """
        return ScoreTable.read(self.scores).to_pandas()

    def __repr__(self) -> str:
        return "\n".join(
            [
                f"AUC of lenses that the model never saw: {self.auc:.3f}",
                f"flagged at a false-discovery rate of 0.05: {self.flagged} of {self.lumpy} "
                "lumpy lenses",
                f"model: {self.model}",
                f"scores: {self.scores}",
                f"report: {self.report}",
            ]
        )


def demo(*, out: str | Path | None = None, seed: int = 0, progress: bool = True) -> Demonstration:
    """Simulate smooth and lumpy lenses, train, score, evaluate, and write a report.

    Parameters
    ----------
    out : str or Path, optional
        Folder for images, model, scores and report. Default: ``lumpylens-demo`` here.
    seed : int
    progress : bool
        Show progress on standard error.

    Returns
    -------
    Demonstration

    Raises
    ------
    DataError
        If `out` cannot be written.
    """
    from lumpylens.simulation import simulate

    folder = Path(FOLDER if out is None else out)
    places = {name: folder / f"{name}.npz" for name in ("smooth", "fresh", "lumpy")}
    for place in places.values():
        check_npz_place(place)
    for k, (name, n, lumps) in enumerate(
        (("smooth", N_LEARNED, None), ("fresh", N_FRESH, None), ("lumpy", N_FRESH, SUBSTRUCTURE))
    ):
        images = simulate(POPULATION, n, seed=seed + k, substructure=lumps, progress=progress)
        write_npz(images, places[name])

    model = train(
        places["smooth"],
        DETECTOR,
        out=folder / "model",
        seed=seed,
        settings=SETTINGS,
        progress=progress,
    )
    table = score(model, places["lumpy"], out=folder / "scores.csv", progress=progress)
    evaluation = evaluate(
        model,
        normal=LensImages.open(places["smooth"]) + LensImages.open(places["fresh"]),
        anomalous=places["lumpy"],
        out=folder / "report",
        explain=EXPLAINED,
        progress=progress,
    )
    return Demonstration(
        images=folder,
        model=folder / "model",
        scores=folder / "scores.csv",
        report=folder / "report" / "report.html",
        auc=evaluation.auc,
        lumpy=len(table),
        flagged=int(table.flag.sum()),
    )
