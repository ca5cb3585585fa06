"""Row 0 is at the bottom, in every picture of every page, figure and notebook."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.report.as_read import draw_as_read
from lumpylens.report.explained import draw_explanation
from lumpylens.report.listing import write_thumbnail
from lumpylens.report.panels import explanation_parts
from lumpylens.report.strips import write_example
from lumpylens.report.style import LIGHT
from lumpylens.results.examples import Example
from lumpylens.results.explanation import Explanation, Peak, PositionMap

HEIGHT, WIDTH = 40, 60
ROW, COLUMN = 5, 50
"""Of the one bright spot: near the bottom, on the right."""


@pytest.fixture
def image() -> NDArray[np.float32]:
    pixels = np.random.default_rng(0).normal(0, 0.01, (HEIGHT, WIDTH)).astype(np.float32)
    pixels[ROW - 1 : ROW + 2, COLUMN - 1 : COLUMN + 2] = 1.0
    return pixels


@pytest.fixture
def explanation(image: NDArray[np.float32]) -> Explanation:
    extent = (-0.5, WIDTH - 0.5, -0.5, HEIGHT - 0.5)
    where = PositionMap("where", "where", 10 * image, extent, "", diverging=True)
    return Explanation(
        image=image, model=0 * image + 0.1 * image, residual=0.9 * image, maps=(where,),
        peak=Peak(float(COLUMN), float(ROW), "1 sigma"), ring_px=(40.0, 10.0, 5.0),
        view_px=(29.5, 59.5, -0.5, 29.5), sentence="Odd",
    )  # fmt: skip


def brightest(picture: Image.Image) -> tuple[float, float]:
    """Middle of what is bright: share of the width from the left, of the height from below."""
    light = np.asarray(picture.convert("RGB")).astype(float).sum(axis=2)
    y, x = np.nonzero(light > 0.9 * light.max())
    height, width = light.shape
    return float(np.mean(x) + 0.5) / width, 1 - float(np.mean(y) + 0.5) / height


EXPECTED = pytest.approx(((COLUMN + 0.5) / WIDTH, (ROW + 0.5) / HEIGHT), abs=0.02)


def test_thumbnails_of_notebooks(image: NDArray[np.float32]) -> None:
    shown = LensImages.from_arrays(image[None])._repr_html_()
    (encoded,) = re.findall(r"base64,([^\"]+)", shown)
    assert brightest(Image.open(io.BytesIO(base64.b64decode(encoded)))) == EXPECTED


def test_thumbnails_of_pages(image: NDArray[np.float32], tmp_path: Path) -> None:
    write_thumbnail(LensImages.from_arrays(image[None])[0], tmp_path / "thumb.png")
    assert brightest(Image.open(tmp_path / "thumb.png")) == EXPECTED


def test_examples_of_pages(image: NDArray[np.float32], tmp_path: Path) -> None:
    write_example(Example("0", True, 1, 1.0, 0.5, image, image), 1.0, tmp_path, "example")
    for name in ("image", "model"):
        assert brightest(Image.open(tmp_path / f"example-{name}.png")) == EXPECTED


def test_explanations_of_pages(explanation: Explanation, tmp_path: Path) -> None:
    parts = explanation_parts(explanation, tmp_path, "rank-0001", None)
    assert brightest(Image.open(tmp_path / "rank-0001-image.png")) == EXPECTED
    # Pages count rows from the top.
    assert parts["peak"] == [COLUMN, HEIGHT - 1 - ROW]
    assert parts["ring"] == [40.0, HEIGHT - 1 - 10.0, 5.0]
    assert parts["view"] == [29.5, 9.5, 30.0, 30.0]
    assert [panel["box"] for panel in parts["panels"]] == [[-0.5, -0.5, WIDTH, HEIGHT]] * 4
    assert parts["peak_text"] == "+ column 50, row 5: 1 sigma; row 0 is at the bottom"


def test_figures_of_explanations(explanation: Explanation) -> None:
    figure = draw_explanation(LIGHT, explanation)
    FigureCanvasAgg(figure).draw()
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "image", "smooth model", "image − model", "where"
    ]  # fmt: skip
    for axes in panels:
        assert axes.get_ylim() == (-0.5, 29.5)
        assert axes.images[0].origin == "lower"
        assert axes.images[0].get_extent() == [-0.5, WIDTH - 0.5, -0.5, HEIGHT - 0.5]


def test_figures_of_what_was_read(image: NDArray[np.float32]) -> None:
    axes = draw_as_read(list(LensImages.from_arrays(image[None]))).axes[0]
    assert axes.images[0].origin == "lower"
    low, high = axes.get_ylim()
    assert low < high
