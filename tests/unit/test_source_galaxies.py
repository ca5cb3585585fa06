"""Sources that are galaxies: the ones that come with the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.scale import simulate_shards
from lumpylens.simulation import POPULATIONS, simulate, simulate_with_truth
from lumpylens.simulation.galaxies import measure, shipped_galaxies
from lumpylens.simulation.recipe import Recipe

ROMAN = POPULATIONS["roman"]


def grid(half=40.0, steps=321):
    line = np.linspace(-half, half, steps, dtype=np.float32)
    return *np.meshgrid(line, line), (2 * half / (steps - 1)) ** 2


def test_every_galaxy_has_unit_light_and_the_size_that_is_asked_for():
    u, v, area = grid()
    shipped = shipped_galaxies()
    assert len(shipped.ids) == len(set(shipped.ids)) == 20
    for which, name in enumerate(shipped.ids):
        light = shipped.light(which, u, v, 5.0, 30.0).astype(float) * area
        assert light.min() >= 0
        assert light.sum() == pytest.approx(1, abs=0.02), name
        assert light[np.hypot(u, v) < 5].sum() == pytest.approx(0.5, abs=0.02), name
        assert abs((light * u).sum()) < 0.2, name


def test_what_the_file_says_is_what_is_measured():
    for galaxy in shipped_galaxies().galaxies:
        again = measure(galaxy)
        assert again.centre == pytest.approx(galaxy.centre, abs=1e-3)
        assert again.radius == pytest.approx(galaxy.radius, rel=0.01)
        assert again.flux == pytest.approx(1, rel=1e-3)


def test_a_galaxy_can_be_turned_and_mirrored():
    u, v, _ = grid(20.0, 81)
    shipped = shipped_galaxies()
    upright = shipped.light(0, u, v, 4.0, 0.0)
    # By 90 degrees from x towards y: what was at (x, y) is at (-y, x).
    np.testing.assert_allclose(shipped.light(0, -v, u, 4.0, 90.0), upright, atol=1e-8)
    np.testing.assert_allclose(shipped.light(1, -u, v, 4.0, 0.0), upright, atol=1e-8)
    assert shipped.ids[1] == f"{shipped.ids[0]} mirrored"


def test_roman_has_galaxies_and_sersic_profiles_where_they_are_asked_for():
    own = simulate_with_truth("roman", 8)
    names = own.table()["source_image"]
    assert set(names) <= set(shipped_galaxies().ids)
    assert len(set(names)) > 4
    plain = simulate_with_truth("roman", 8, sources="sersic")
    assert "source_image" not in plain.table().colnames
    assert own.images[0].image.tolist() != plain.images[0].image.tolist()
    # Only the source differs, and not in its light and size.
    for name in ("shear", "source_brightness", "source_radius_px", "lens_light_brightness"):
        assert [getattr(a, name) for a in own.lenses] == [getattr(b, name) for b in plain.lenses]
    # A galaxy behind a lens of another population.
    made = simulate_with_truth("euclid", 2, sources="galaxies")
    assert set(made.table()["source_image"]) <= set(shipped_galaxies().ids)
    assert Recipe(POPULATIONS["euclid"], None, 0).galaxies() is None


def test_shards_have_them_too(tmp_path):
    campaign = simulate_shards("roman", 2, out=tmp_path / "set", sources="galaxies", progress=False)
    assert campaign.images == 2
    made = LensImages.open(next((tmp_path / "set").rglob("*.h5")))
    np.testing.assert_array_equal(made[1].image, simulate("roman", 2)[1].image)


def test_mistakes_are_named():
    with pytest.raises(DataError, match="sources are sersic or galaxies, got 'cosmos'"):
        replace(ROMAN, sources="cosmos")
    with pytest.raises(DataError, match="give sources sersic"):
        simulate(ROMAN, 1, device="cuda")
