"""`Explanations`: the result of `lumpylens.explain`, shown in a notebook and written as figures."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from lumpylens.errors import DataError
from lumpylens.files.progress import counted
from lumpylens.files.tables import pandas_frame
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.results.explanation import Explanation
from lumpylens.results.reasons import why_none

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Explanations", "check_figures_place"]

FIGURES_IN_VIEW = 12
"""Figures in a notebook's view; each is drawn, and stored in the notebook, whenever it is shown."""

LONGEST_NAME = 100
"""Characters of an image's name that the name of its figure keeps; file systems allow 255."""


@dataclass(frozen=True, repr=False)
class Explanations(Sequence[Explanation]):
    """Explanations of some images; a notebook shows their figures.

    Attributes
    ----------
    members : tuple of Explanation
    """

    members: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.members)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        chosen = self.members[index]
        return chosen if isinstance(chosen, Explanation) else Explanations(chosen)

    def __repr__(self) -> str:
        lines = [] if self._nothing_shown() else [_line(explanation) for explanation in self]
        return "\n".join([*self._in_common(), *lines])

    def _nothing_shown(self) -> bool:
        """Tell whether all of several failed, which one sentence says."""
        return len(self) > 1 and all(explanation.error for explanation in self)

    def _in_common(self) -> list[str]:
        """One sentence where none can be trusted; else nothing."""
        errors = [explanation.error for explanation in self]
        reason = why_none(errors, [explanation.warning for explanation in self])
        return [reason] if reason else []

    def _repr_html_(self) -> str:
        from lumpylens.report.explained import figure_png

        parts = [f"<p>{html.escape(reason)}</p>" for reason in self._in_common()]
        if self._nothing_shown():
            return "".join(parts)
        for explanation in self[:FIGURES_IN_VIEW]:
            text = html.escape(_line(explanation), quote=True)
            if explanation.image is None:
                parts.append(f"<p>{text}</p>")
                continue
            encoded = base64.b64encode(figure_png(explanation)).decode("ascii")
            parts.append(
                f'<p><img style="max-width:60em;width:100%" alt="{text}" '
                f'src="data:image/png;base64,{encoded}"></p>'
            )
        remaining = len(self.members) - FIGURES_IN_VIEW
        return "".join(parts) + (f"<p>and {remaining} more</p>" if remaining > 0 else "")

    def columns(self) -> dict[str, list[Any]]:
        """Name -> values, one per image: sentence, place, each part of the score, its p-value."""
        names = dict.fromkeys(part.name for explanation in self for part in explanation.scores)
        parts = [{part.name: part for part in explanation.scores} for explanation in self]
        return {
            "id": [explanation.id for explanation in self],
            "sentence": [explanation.sentence for explanation in self],
            "where": [explanation.peak_words for explanation in self],
            **{n: [p[n].value if n in p else math.nan for p in parts] for n in names},
            **{f"p_{n}": [p[n].p_value if n in p else math.nan for p in parts] for n in names},
            "warning": [explanation.warning for explanation in self],
            "error": [explanation.error for explanation in self],
        }

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame` of `columns`.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return pandas_frame(self.columns())

    def write(self, folder: str | Path, *, progress: bool = False) -> list[Path]:
        """Write ``NAME.png`` of each explanation that has an image.

        Raises
        ------
        DataError
            If `folder` is a file or cannot be written.
        """
        # matplotlib takes a second to load
        from lumpylens.report.explained import figure_png

        place = Path(folder)
        check_figures_place(place)
        written: list[Path] = []
        with counted("drawing", len(self), show=progress) as step:
            for explanation in self:
                step()
                if explanation.image is None:
                    continue
                name = file_name(explanation.id, taken={path.stem for path in written})
                path = place / f"{name}.png"
                with whole_file(path) as part_file:
                    part_file.write_bytes(figure_png(explanation))
                written.append(path)
        return written


def _line(explanation: Explanation) -> str:
    return f"{explanation.id}: {explanation.error or explanation.sentence}"


def check_figures_place(folder: Path) -> None:
    """Raise if a folder cannot be written, before anything is drawn."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder to write to")
    check_writable(folder / "figure.png")


def file_name(image: str, taken: set[str]) -> str:
    """Turn the name of an image into a file name that every file system accepts.

    Examples
    --------
    >>> file_name("sub/image 7.jpg", set()), file_name("sub/image 7.jpg", {"sub_image_7"})
    ('sub_image_7', 'sub_image_7_2')
    """
    plain = re.sub(r"\.(jpe?g|png|tiff?|fits?)(\.gz)?$", "", image, flags=re.IGNORECASE)
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", plain).strip("._")[:LONGEST_NAME] or "image"
    name, copy = plain, 1
    while name in taken:
        copy += 1
        name = f"{plain}_{copy}"
    return name
