"""Say and draw what is behind the scores of single images."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.files.progress import counted
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.results.explanation import Explanation

if TYPE_CHECKING:
    from lumpylens.results.score_table import ScoreTable
    from lumpylens.store.folder import TrainedModel

__all__ = ["Explanations", "check_explain", "explain", "explain_highest", "explained"]

SHOWN = 12
"""Figures in a notebook's view."""

LONGEST_NAME = 100
"""Characters of an image's name that the name of its figure keeps."""


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
    from lumpylens.store.folder import load_model

    trained, images = load_model(model), LensImages.open(data, band=band).warned()
    chosen = images if ids is None else images[find(images, [ids] if isinstance(ids, str) else ids)]
    if out is not None:
        check_folder(Path(out))
    found = explained(trained, chosen, device=device, progress=progress)
    if out is not None:
        write_figures(found, Path(out), progress)
    return found


@dataclass(frozen=True, repr=False)
class Explanations(Sequence[Explanation]):
    """Explanations of some images; a notebook shows their figures.

    Attributes
    ----------
    found : tuple of Explanation
    """

    found: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        chosen = self.found[index]
        return chosen if isinstance(chosen, Explanation) else Explanations(chosen)

    def __repr__(self) -> str:
        return "\n".join(f"{one.id}: {one.error or one.sentence}" for one in self.found)

    def _repr_html_(self) -> str:
        from lumpylens.report.explained import figure_png

        parts = []
        for one in self.found[:SHOWN]:
            text = html.escape(f"{one.id}: {one.error or one.sentence}", quote=True)
            if one.image is None:
                parts.append(f"<p>{text}</p>")
                continue
            encoded = base64.b64encode(figure_png(one)).decode("ascii")
            parts.append(
                f'<p><img style="max-width:60em;width:100%" alt="{text}" '
                f'src="data:image/png;base64,{encoded}"></p>'
            )
        rest = len(self.found) - SHOWN
        return "".join(parts) + (f"<p>and {rest} more</p>" if rest > 0 else "")


def explained(
    model: TrainedModel, images: LensImages, *, device: str = "auto", progress: bool = True
) -> Explanations:
    """Explanations of all `images`, with calibrated p-values."""
    from lumpylens.verbs.score import check_device

    check_device(device)
    with model.detector.on(device), counted("explaining", len(images), show=progress) as step:
        found = model.detector.explain(images, on_image=step)

    def with_p_value(one: Explanation) -> Explanation:
        if not one.scores:
            return one
        trusted = not one.warning
        p_value = model.calibration.p_values(one.scores[0].value) if trusted else math.nan
        return one.calibrated(float(p_value), model.calibration.smallest_p_value)

    return Explanations(tuple(with_p_value(one) for one in found))


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
    found = explained(model, images[order], device=device, progress=progress)
    return dict(zip(order, found, strict=True))


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


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, before the work."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder to write to")
    check_writable(folder / "figure.png")


def write_figures(found: Sequence[Explanation], folder: Path, progress: bool) -> list[Path]:
    """Write ``NAME.png`` of each explanation that has an image."""
    from lumpylens.report.explained import figure_png

    written: list[Path] = []
    with counted("drawing", len(found), show=progress) as step:
        for one in found:
            step()
            if one.image is None:
                continue
            path = folder / f"{file_name(one.id, taken={path.stem for path in written})}.png"
            with whole_file(path) as beside:
                beside.write_bytes(figure_png(one))
            written.append(path)
    return written


def file_name(image: str, taken: set[str]) -> str:
    """A name that any file system takes, from the name of an image.

    Examples
    --------
    >>> file_name("sub/image 7.jpg", set()), file_name("sub/image 7.jpg", {"sub_image_7"})
    ('sub_image_7', 'sub_image_7_2')
    """
    plain = re.sub(r"\.(jpe?g|png|tiff?|fits?)(\.gz)?$", "", image, flags=re.IGNORECASE)
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", plain).strip("._")[:LONGEST_NAME] or "image"
    name, again = plain, 1
    while name in taken:
        again += 1
        name = f"{plain}_{again}"
    return name
