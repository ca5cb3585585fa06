"""The title of a figure that is written after the figure itself.

The p-value of a lens depends on the lenses that are fitted after it, and panels take seconds to
draw: so they are drawn once, and the title above them is replaced when its numbers change.
"""

from __future__ import annotations

import io
import textwrap
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lumpylens.files.writing import whole_file
from lumpylens.report.style import DARK, LIGHT, Theme

__all__ = ["has_title", "write_title"]

TITLE, ROWS = "Title", "Title rows"
"""Texts in the PNG file: the title, and the height of its strip in pixels."""

LINE_CHARACTERS, LINE_INCHES, MARGIN_INCHES = 110, 0.19, 0.12
"""Longest line, its height, and the room above and below all lines, for `POINTS`."""

POINTS = 10


def write_title(folder: Path, name: str, title: str) -> None:
    """Write a title above ``NAME.png`` and ``NAME-dark.png``, in place of the one they have.

    Parameters
    ----------
    folder : Path
    name : str
    title : str
        Lines that are too long are wrapped. Nothing is written if the title is there already.
    """
    title = _in_utf8(title)
    for theme, path in _files(folder, name):
        with Image.open(path) as picture:
            if picture.info.get(TITLE) == title:
                continue
            above = int(picture.info.get(ROWS, 0))
            dots_per_inch = picture.info["dpi"][0]
            panels = picture.convert("RGBA").crop((0, above, picture.width, picture.height))
        strip = _strip(theme, title, panels.width, dots_per_inch)
        titled = Image.new("RGBA", (panels.width, strip.height + panels.height))
        titled.paste(strip, (0, 0))
        titled.paste(panels, (0, strip.height))
        texts = PngInfo()
        texts.add_itxt(TITLE, title)
        texts.add_text(ROWS, str(strip.height))
        with whole_file(path) as part_file:
            titled.save(part_file, dpi=(dots_per_inch, dots_per_inch), pnginfo=texts)


def has_title(folder: str | Path, name: str, title: str) -> bool:
    """Tell whether ``NAME.png`` and ``NAME-dark.png`` have this very title."""
    for _, path in _files(Path(folder), name):
        with Image.open(path) as picture:
            if picture.info.get(TITLE) != _in_utf8(title):
                return False
    return True


def _files(folder: Path, name: str) -> list[tuple[Theme, Path]]:
    return [(LIGHT, folder / f"{name}.png"), (DARK, folder / f"{name}-dark.png")]


def _in_utf8(title: str) -> str:
    # Names of files may hold bytes that are no UTF-8.
    return title.encode("utf-8", "backslashreplace").decode()


def _strip(theme: Theme, title: str, width_px: int, dots_per_inch: float) -> Image.Image:
    """Draw the title on a transparent strip as wide as the figure."""
    lines = [
        part for line in title.splitlines() for part in textwrap.wrap(line, LINE_CHARACTERS) or [""]
    ]
    size = (width_px / dots_per_inch, len(lines) * LINE_INCHES + MARGIN_INCHES)
    figure = Figure(figsize=size)
    figure.text(
        0.5,
        0.5,
        "\n".join(lines),
        ha="center",
        va="center",
        color=theme.ink,
        fontsize=POINTS,
        parse_math=False,
    )
    content = io.BytesIO()
    figure.savefig(content, dpi=dots_per_inch, transparent=True, format="png")
    return Image.open(content).convert("RGBA")
