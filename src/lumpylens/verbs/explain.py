"""Say and draw what is behind the scores of single images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.files.progress import counted
from lumpylens.report.explanations import Explanations, check_figures_place
from lumpylens.results.explanation import Explanation
from lumpylens.results.score_table import ScoreTable
from lumpylens.store.folder import load_model
from lumpylens.store.trained import TrainedModel

__all__ = ["check_explain", "explain", "explain_highest"]


def explain(
    model: TrainedModel | str | Path,
    data: Any,
    ids: Sequence[str] | str | None = None,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
) -> Explanations:
    """Explain the scores of single images.

    Parameters
    ----------
    model : TrainedModel, str or Path
        A model, its folder, or the name of one that comes with the package.
    data : str, Path, array_like of shape (..., H, W), or LensImages
        Whatever `LensImages.open` understands.
    ids : str or sequence of str, optional
        Names of the images to explain, as in a score table. Default: all.
    band : str, optional
        Which of the bands to take, where the files hold several.
    out : str or Path, optional
        Folder for one PNG figure per image, which is made if it is not there; figures of
        the same name are replaced.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    Explanations
        In the order of `ids`; an image that cannot be explained has an `error`. The anomaly score
        comes first among its scores, with its calibrated p-value, unless there is a `warning`.

    Raises
    ------
    DataError
        If there is no image of that name, or `out` cannot be written.
    ModelError
        If the model cannot be loaded.
    """
    trained, images = load_model(model), LensImages.open(data, band=band).warned()
    selected = (
        images if ids is None else images[find(images, [ids] if isinstance(ids, str) else ids)]
    )
    if out is not None:
        check_figures_place(Path(out))
    explanations = explained(trained, selected, device, progress)
    if out is not None:
        explanations.write(out, progress=progress)
    return explanations


def explained(model: TrainedModel, images: LensImages, device: str, progress: bool) -> Explanations:
    """Explanations of all `images`, with a bar."""
    with counted("explaining", len(images), show=progress) as step:
        return Explanations(tuple(model.explain(images, device=device, on_image=step)))


def check_explain(count: int) -> None:
    """Refuse a number of explanations that is none."""
    if count < 0:
        raise ModelError(f"explain is a number of images, 0 or more, got {count}")


def explain_highest(
    model: TrainedModel,
    images: LensImages,
    table: ScoreTable,
    count: int,
    *,
    device: str = "auto",
    progress: bool = True,
) -> dict[int, Explanation]:
    """Explanations of the `count` highest ranks of a scored collection, by position."""
    order = [int(row) for row in table.order()[:count] if table.scored[row]]
    if not order:
        return {}
    explanations = explained(model, images[order], device, progress)
    return dict(zip(order, explanations, strict=True))


def find(images: LensImages, ids: Sequence[str]) -> list[int]:
    """Positions of the images called `ids`; the part after the last slash may be enough."""
    import difflib

    names = images.ids
    at: dict[str, int] = {}
    for position, name in enumerate(names):
        at.setdefault(name, position)
    for position, name in enumerate(names):
        at.setdefault(name.rpartition("/")[2], position)
    missing = [name for name in ids if name not in at]
    if missing:
        near = difflib.get_close_matches(missing[0], names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the first is called {names[0]}"
        raise DataError(f"no image called {missing[0]} in {images.location}; {hint}")
    return [at[name] for name in ids]
