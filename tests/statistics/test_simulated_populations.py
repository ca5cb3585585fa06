"""Simulated populations have their stated distributions, and the challenge's looks real."""

import math

import numpy as np
import pytest
from scipy.stats import kstest, norm, uniform

from lumpylens.data.images import LensImages
from lumpylens.simulate import POPULATIONS, simulate
from lumpylens.simulate.lens import draw_lens

SLC, WIDE = POPULATIONS["slc"], POPULATIONS["wide"]


def drawn(preset, n=1500, seed=1):
    random = np.random.default_rng(seed)
    return [draw_lens(preset, random) for _ in range(n)]


@pytest.mark.parametrize("preset", [SLC, WIDE], ids=lambda p: p.name)
def test_every_range_is_uniform(preset):
    lenses = drawn(preset)
    columns = {
        "shear": preset.shear,
        "shear_angle_deg": preset.position_angle_deg,
        "source_angle_deg": preset.position_angle_deg,
        "lens_light_angle_deg": preset.position_angle_deg,
        "mass_angle_deg": preset.position_angle_deg,
        "mass_axis_ratio": preset.mass_axis_ratio,
        "lens_light_axis_ratio": preset.lens_light_axis_ratio,
        "source_axis_ratio": preset.source_axis_ratio,
        "lens_light_radius_px": preset.lens_light_radius_px,
        "source_radius_px": preset.source_radius_px,
        "lens_light_brightness": preset.lens_light_brightness,
        "source_brightness": preset.source_brightness,
    }
    for name, (low, high) in columns.items():
        values = np.array([getattr(lens, name) for lens in lenses])
        if low == high:
            assert (values == low).all(), name
        else:
            law = uniform(low, high - low).cdf
            assert kstest(values, law).pvalue > 1e-4, name
    x, y, radius = (
        np.array([getattr(lens, n) for lens in lenses])
        for n in ("source_x_px", "source_y_px", "einstein_radius_px")
    )
    assert kstest(np.hypot(x, y) / radius, uniform(0, 1).cdf).pvalue > 1e-4
    assert kstest(np.arctan2(y, x), uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4


def test_einstein_radii_scatter_as_stated():
    radii = np.array([lens.einstein_radius_px for lens in drawn(WIDE)])
    assert abs(radii / 20 - 1).max() <= 0.6
    assert kstest((radii / 20 - 1) / 0.2, norm.cdf).pvalue > 1e-4
    assert {lens.einstein_radius_px for lens in drawn(SLC, 20)} == {20.0}


def test_noise_levels_scatter_as_stated():
    levels = np.array([lens.noise for lens in drawn(SLC)])
    assert kstest(np.log(levels / SLC.noise) / SLC.noise_spread, norm.cdf).pvalue > 1e-4


def test_numbers_of_different_kinds_are_independent():
    lenses = drawn(WIDE)
    names = ("einstein_radius_px", "shear", "shear_angle_deg", "source_x_px", "source_y_px",
             "source_axis_ratio", "source_brightness", "lens_light_radius_px", "noise")  # fmt: skip
    table = np.array([[getattr(lens, name) for name in names] for lens in lenses])
    correlations = np.corrcoef(table.T) - np.eye(len(names))
    assert np.abs(correlations).max() < 4 / math.sqrt(len(lenses))


# -- the real thing -----------------------------------------------------------------------------


def features(images):
    """Simple statistics of pictures, one row each."""
    x, y = np.meshgrid(np.arange(150) - 74.5, np.arange(150) - 74.5)
    radius, rows = np.hypot(x, y), []
    for one in images:
        image = one.image
        rows.append(
            [image.mean(), image.std(), np.quantile(image, 0.9), np.quantile(image, 0.99)]
            + [image[(radius >= a) & (radius < b)].mean()
               for a, b in ((0, 1.5), (1.5, 3), (3, 6), (6, 12), (25, 30), (40, 50), (60, 75))]
            + [image[:16, :16].std(), one.file_bytes]
        )  # fmt: skip
    return np.array(rows)


def test_they_look_like_the_real_ones(real_data):
    real = LensImages.open(real_data / "slc" / "lenses" / "no_sub")
    real_ones = features(real[np.linspace(0, len(real) - 1, 400).astype(int)])
    ours = features(simulate("slc", 300, seed=8))
    # Medians in units of the scatter between images; 0.09 is one standard error.
    spread = np.maximum(np.std(real_ones, axis=0), 0.3)
    off = (np.median(ours, axis=0) - np.median(real_ones, axis=0)) / spread
    assert np.abs(off).max() < 0.4, off.round(2)
