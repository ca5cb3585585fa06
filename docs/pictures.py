"""Draws the pictures of the documentation: ``make pictures``. Everything in them is simulated.

The picture of the report page is a screenshot, for which Chromium must be installed.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

import lumpylens
from lumpylens.simulation import Substructure

IMAGES = Path(__file__).parent / "images"
SEED = 6
"""Of twelve that were tried, one of the eight in which the lump can be seen, and no extreme one."""
LUMP_PX, LUMP_AT_PX = 1.8, (14.0, -14.0)
"""Einstein radius of the lump, 0.8 % of the lens's mass, and its place on the ring."""
HALF_PX = 42
"""Half the side of the part that is drawn."""
N_SMOOTH, N_LUMPY = 40, 12
"""Lenses on the report page: enough for a histogram, and two rows of lumpy ones."""
PAGE_PX = (1200, 1682)
"""Size of the screenshot: the page from its title to the second row of thumbnails."""
COLOURS = 128
"""Colours of the screenshot, the fewest that show no steps in the thumbnails."""


def detection(model: str) -> Figure:
    """A smooth lens and one with a lump: image, smooth model, what is left, and the map."""
    lump = Substructure(count=1, einstein_radius_px=LUMP_PX, at_px=LUMP_AT_PX)
    images = lumpylens.simulate("slc", 1, seed=SEED) + lumpylens.simulate(
        "slc", 1, seed=SEED, substructure=lump
    )
    figure = Figure(figsize=(10.2, 5.3), dpi=88, layout="constrained")
    rows = figure.subplots(2, 4)
    middle = (images[0].image.shape[0] - 1) / 2
    for row, one in zip(rows, lumpylens.explain(model, images, progress=False), strict=True):
        places, score = one.maps[0], one.scores[0]
        lower = {"origin": "lower"}
        row[0].imshow(one.image, "magma", vmin=0, vmax=255, **lower)
        row[1].imshow(one.model, "magma", vmin=0, vmax=255, **lower)
        row[2].imshow(one.image - one.model, "RdBu_r", vmin=-8, vmax=8, **lower)
        row[3].imshow(places.values, "PuOr_r", vmin=-20, vmax=20, extent=places.extent_px, **lower)
        row[3].set_facecolor("0.85")
        row[0].set_ylabel(f"score {score.value:.1f}\np-value {score.p_value:.2g}", fontsize=11)
    rows[1][3].plot(
        middle + LUMP_AT_PX[0], middle + LUMP_AT_PX[1], "o", ms=17, mfc="none", mec="black", mew=1.6
    )
    heads = ("image", "best smooth lens", "what is left", "signal-to-noise of a mass here")
    for axes, head in zip(rows[0], heads, strict=True):
        axes.set_title(head, fontsize=11)
    shown = (middle - HALF_PX, middle + HALF_PX)
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[], xlim=shown, ylim=shown)
    return figure


def report_page(model: str) -> Image.Image:
    """Screenshot of the page that ``score --report`` writes for smooth and lumpy lenses."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("the picture of the report page needs Chromium (Debian: chromium)")
    images = lumpylens.simulate("slc", N_SMOOTH, seed=1) + lumpylens.simulate(
        "slc", N_LUMPY, seed=2, substructure="points"
    )
    width, height = PAGE_PX
    with tempfile.TemporaryDirectory() as folder:
        lumpylens.score(
            model, images, report=Path(folder) / "page", explain=N_LUMPY, progress=False
        )
        subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--blink-settings=preferredColorScheme=1",  # light
                f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
                f"--screenshot={folder}/page.png", f"file://{folder}/page/report.html",
            ],
            check=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return Image.open(f"{folder}/page.png").convert("RGB")


def write(figure: Figure, name: str) -> None:
    """Write a small PNG file, without the opacity that matplotlib stores."""
    drawn = io.BytesIO()
    figure.savefig(drawn)
    Image.open(drawn).convert("RGB").save(IMAGES / name, optimize=True)


if __name__ == "__main__":
    model = sys.argv[1] if len(sys.argv) > 1 else "slc-physics"
    write(detection(model), "detection.png")
    report_page(model).quantize(COLOURS).save(IMAGES / "report.png", optimize=True)
