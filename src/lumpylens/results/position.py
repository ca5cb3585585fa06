"""Places in an image, in words: pixels counted from row 0 at the bottom, arcsec from the middle."""

from __future__ import annotations

__all__ = ["ROW_ZERO", "position_words"]

ROW_ZERO = "row 0 is at the bottom"
"""Said wherever a place is given."""


def position_words(
    column_px: float,
    row_px: float,
    image_shape: tuple[int, int],
    pixel_scale_arcsec: float | None,
) -> str:
    """A place in pixels and, where the pixel scale is known, in arcsec from the image's middle.

    Parameters
    ----------
    column_px, row_px : float
        Counted from 0; row 0 is at the bottom.
    image_shape : (int, int)
        Height and width, px.
    pixel_scale_arcsec : float or None

    Examples
    --------
    >>> position_words(88.2, 41.0, (101, 101), None)
    'column 88, row 41'
    >>> position_words(88.2, 41.0, (101, 101), 0.05)
    'column 88, row 41 (x = +1.91″, y = −0.45″ from the middle)'
    """
    pixels = f"column {column_px:.0f}, row {row_px:.0f}"
    if pixel_scale_arcsec is None:
        return pixels
    height, width = image_shape
    x, y = (
        f"{(at - (side - 1) / 2) * pixel_scale_arcsec:+.2f}″".replace("-", "−")
        for at, side in ((column_px, width), (row_px, height))
    )
    return f"{pixels} (x = {x}, y = {y} from the middle)"
