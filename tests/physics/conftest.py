"""One small lens that really went through `lumpylens.fit`, shared by all tests of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from made_lens import made_cutout

import lumpylens
from lumpylens.lenses import analysis
from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.cutout import Cutout


@dataclass(frozen=True)
class FittedLens:
    """What was made, and what `lumpylens.fit` gave and wrote.

    The truth is that of `made_cutout`, with an Einstein radius of 1 arcsec.
    """

    cutout: Cutout
    row: LensRow
    analysis: LensAnalysis
    table: Path
    figures: Path


@pytest.fixture(scope="session")
def fitted_lens(tmp_path_factory) -> FittedLens:
    from astropy.io import fits

    folder = tmp_path_factory.mktemp("fitted")
    cutout = made_cutout(side=51, scale=0.1, einstein_radius=1.0)
    (folder / "lenses" / "small").mkdir(parents=True)
    for kind in ("image", "noise", "psf"):
        header = fits.Header({"PIXSCALE": cutout.pixel_scale_arcsec})
        path = folder / "lenses" / "small" / f"{kind}.fits"
        fits.writeto(path, getattr(cutout, kind), header)
    (folder / "z.csv").write_text("id,lens_redshift,source_redshift\nsmall,0.2,0.6\n")
    made = []

    def analyse(*arguments, **known):
        made.append(analysis_of(*arguments, **known))
        return made[-1]

    analysis_of = analysis.analyse
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(analysis, "analyse", analyse)
        (row,) = lumpylens.fit(
            folder / "lenses", out=folder / "fits.csv", redshifts=folder / "z.csv",
            figures=folder / "figures", progress=False,
        )  # fmt: skip
    return FittedLens(cutout, row, made[0], folder / "fits.csv", folder / "figures")
