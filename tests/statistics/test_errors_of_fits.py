"""Truths of mock lenses lie within the errors of their fits; `benchmarks/errors` tries many."""

from __future__ import annotations

import numpy as np
import pytest
from scripts import script

from lumpylens import LensImages, fit
from lumpylens.data.source import CutoutSource
from lumpylens.lenses.catalogue import LensRow

mock_lenses = script("mock_lenses")
errors = script("errors")


def test_shares_and_pulls_are_counted():
    number = errors.Number("slope", "slope_error", lambda truth: truth["slope"])
    turned = errors.Number(
        "shear_angle_deg", "shear_angle_error_deg", lambda truth: truth["angle"], True
    )
    rows = [
        (LensRow(slope=2.0 + 0.1 * k, slope_error=0.1, shear_angle_deg=89.0,
                 shear_angle_error_deg=4.0), mock_lenses.MockLens(None, truth))
        for k in (-3, -1.5, 0.5, 0)
        for truth in [{"slope": 2.0, "angle": -89.0}]
    ]  # fmt: skip
    slope, angle, together = errors.coverage([number, turned], rows)
    assert slope["within 1"][0] == 0.5
    assert slope["within 2"][0] == 0.75
    assert slope["median pull"] == pytest.approx(-0.75)
    assert angle["within 1"][0] == 1.0
    assert angle["rms pull"] == pytest.approx(0.5)
    assert together["within 1"][0] == 0.75
    low, high = slope["within 1"][1:]
    assert low == pytest.approx(0.15, abs=0.01)
    assert high == pytest.approx(0.85, abs=0.01)


def test_a_mock_is_the_same_whatever_is_drawn_before_it():
    one, again = (mock_lenses.draw_lens(4, 0, perturbed=True) for _ in range(2))
    plain = mock_lenses.draw_lens(4, 0)
    assert (one.image.image == again.image.image).all()
    assert plain.truth.items() <= one.truth.items()
    assert one.image.psf.sum() == pytest.approx(1, abs=1e-6)
    assert np.unravel_index(one.image.psf.argmax(), one.image.psf.shape) == (10, 10)
    # The middle of the lens galaxy is the middle of the image.
    assert np.unravel_index(plain.image.image.argmax(), (121, 121)) == (60, 60)


@pytest.mark.slow
def test_truths_of_mocks_lie_within_the_errors():
    mocks = [mock_lenses.draw_lens(k, 0) for k in (3, 4, 6)]
    images = LensImages.from_source(CutoutSource([mock.image for mock in mocks]))
    rows = list(fit(images, progress=False))
    assert not any(row.error or row.doubts for row in rows)
    pairs = list(zip(rows, mocks, strict=True))
    pulls = np.abs(
        [number.pull(row, mock.truth) for number in errors.SMOOTH for row, mock in pairs]
    )
    assert (pulls < 1).mean() > 0.5
    assert (pulls < 2).mean() > 0.85
    assert pulls.max() < 4.5
    # Errors that are too large would pass all of this.
    assert np.sqrt((pulls**2).mean()) > 0.5
    assert all(row.einstein_radius_err < 0.02 * row.einstein_radius_arcsec for row in rows)
    assert all(row.slope_error < 0.14 for row in rows)
