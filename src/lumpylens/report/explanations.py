"""`Explanations`: what `lumpylens.explain` gives back; figures in a notebook and on disk."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from lumpylens.errors import DataError
from lumpylens.files.progress import counted
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.results.explanation import Explanation

__all__ = ["Explanations", "check_figures_place"]

SHOWN = 12
"""Figures in a notebook's view."""

LONGEST_NAME = 100
"""Characters of an image's name that the name of its figure keeps."""


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
            for one in self:
                step()
                if one.image is None:
                    continue
                path = place / f"{file_name(one.id, taken={path.stem for path in written})}.png"
                with whole_file(path) as beside:
                    beside.write_bytes(figure_png(one))
                written.append(path)
        return written


def check_figures_place(folder: Path) -> None:
    """Refuse a folder that cannot be written, before the work."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder to write to")
    check_writable(folder / "figure.png")


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
