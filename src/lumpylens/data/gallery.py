"""Thumbnails of cutouts for notebooks, self-contained HTML."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHOWN", "Thumbnail", "gallery_html"]

SHOWN = 8
"""Thumbnails in one row of a notebook."""

SIDE_PX = 96
"""Width of a thumbnail: eight take some 800 pixels, the width of a notebook."""


class Thumbnail(Protocol):
    """An image to draw: a `LensImage`, or any object with these three attributes."""

    @property
    def id(self) -> str:
        """Name below the picture."""
        ...

    @property
    def image(self) -> NDArray[np.float32] | None:
        """Pixels, shape (H, W)."""
        ...

    @property
    def error(self) -> str:
        """What is wrong with it; empty if nothing is."""
        ...


def gallery_html(images: Sequence[Thumbnail], title: str) -> str:
    """Draw images beside each other, with their ids and what is wrong with them.

    Row 0 is at the bottom.

    Parameters
    ----------
    images : sequence of Thumbnail
    title : str
    """
    figures = "".join(
        f'<figure style="display:inline-block;margin:4px;width:{SIDE_PX}px;vertical-align:top">'
        f"{_picture(item)}"
        f'<figcaption style="font-size:10px;overflow-wrap:anywhere">{html.escape(item.id)}'
        f"{'<br>' + html.escape(item.error) if item.error else ''}</figcaption></figure>"
        for item in images
    )
    return f"<div><div>{html.escape(title)}</div>{figures}</div>"


def _picture(item: Thumbnail) -> str:
    if item.error or item.image is None:
        return ""
    encoded = base64.b64encode(_png(item.image)).decode("ascii")
    return (
        f'<img width="{SIDE_PX}" alt="{html.escape(item.id, quote=True)}" '
        f'src="data:image/png;base64,{encoded}">'
    )


def _png(image: NDArray[np.float32]) -> bytes:
    from PIL import Image

    # A few very bright pixels (stars, cosmic rays) would leave the rest black.
    low, high = np.quantile(image, [0.0, 0.999])
    scaled = np.clip((image - low) / max(high - low, 1e-30), 0, 1) * 255
    drawn = io.BytesIO()
    Image.fromarray(scaled[::-1].astype(np.uint8)).save(drawn, "PNG")
    return drawn.getvalue()
