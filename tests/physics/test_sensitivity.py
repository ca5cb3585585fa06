"""Sensitivity to subhaloes on a lens that was really fitted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lumpylens.lenses.perturber import MAP_SPACING
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.sensitivity import (
    HEAVIEST,
    LIGHTEST,
    MASSES,
    SLOPE,
    SensitivityMap,
    Subhaloes,
    expected_detections,
    map_sensitivity,
    signals,
)
from lumpylens.lenses.sensitivity_maps import map_path, write_map
from lumpylens.lenses.sensitivity_row import SensitivitySettings, row_of
from lumpylens.lenses.smooth import polish_from
from lumpylens.physics.compiled.perturbers import radii

DISTANCES = Redshifts(0.2, 0.6)
JAFFE = Subhaloes("pseudo-jaffe")


@pytest.fixture(scope="module")
def fitted(fitted_lens):
    return fitted_lens.analysis


@pytest.fixture(scope="module")
def measured(fitted):
    return map_sensitivity(fitted, DISTANCES, JAFFE)


def of_snr(snr: np.ndarray) -> SensitivityMap:
    """A map of given ratios (masses, m), at positions one arcsec from the lens."""
    count = snr.shape[1]
    turn = torch.linspace(0, 6, count, dtype=torch.float64)
    near = torch.ones(count, dtype=torch.bool)
    return SensitivityMap(
        torch.cos(turn), torch.sin(turn), torch.from_numpy(snr), near, 1.0, torch.arange(count), 5
    )


def whitened_change(fitted, at, table) -> torch.Tensor:
    """Change of the compared pixels by a subhalo that deflects in full."""
    observation, lens = fitted.observation, fitted.smooth.best.lens
    u, v = observation.x - at[0], observation.y - at[1]
    bend = torch.from_numpy(np.interp(torch.hypot(u, v).numpy(), radii(), table[0]))
    rays = lens.rays[0] - bend * u, lens.rays[1] - bend * v
    change = lens.source_seen_by(rays)[0] - lens.source_light
    return observation.blur(change[None])[0]


def test_the_map_holds_what_the_smooth_lens_cannot_imitate(fitted, measured):
    best, mass = fitted.smooth.best, 1e7
    lens = best.lens
    at = float(measured.x[300]) + lens["light_x"], float(measured.y[300]) + lens["light_y"]
    table = JAFFE.bending(fitted, DISTANCES, np.array([mass]))
    change = whitened_change(fitted, at, table).flatten()[fitted.observation.compared]
    change = change * fitted.observation.weights
    # Least squares of the change by everything else, each with its prior.
    with torch.no_grad():
        tangents = best.model.tangents(lens, best.names)
    precision, _ = fitted.smooth.belief.precision_and_pull(lens.values, best.names)
    columns = torch.cat([lens.linear.basis, tangents])
    prior = torch.zeros(len(columns), dtype=torch.float64)
    prior[: len(lens.linear.precision)] = lens.linear.precision
    prior[-len(precision) :] = precision
    normal = columns @ columns.mT + torch.diag(prior)
    along = columns @ change
    left = change @ change - along @ torch.linalg.lstsq(normal, along[:, None]).solution[:, 0]
    assert float(measured.snr[0, 300]) == pytest.approx(math.sqrt(float(left)), rel=0.03)


def test_heavier_subhaloes_are_seen_better_and_best_near_the_arcs(fitted, measured):
    assert (measured.snr.diff(dim=0) >= 0).all()
    radius = torch.hypot(measured.x, measured.y)
    assert float(radius.max()) == pytest.approx(2 * fitted.einstein_radius, abs=0.1)
    assert 0.6 < float(radius[measured.near_arcs].median()) < 1.3
    assert measured.snr[4, measured.near_arcs].median() > 2 * measured.snr[4].median()
    assert 0.6 < measured.scatter < 1.6


@pytest.mark.parametrize("kind", [JAFFE, Subhaloes("nfw", 2.0)])
def test_a_planted_subhalo_has_the_significance_that_was_expected(fitted, kind):
    lens = fitted.smooth.best.lens
    grid = map_sensitivity(fitted, DISTANCES, kind)
    log_least = grid.log_least_mass(4.0)
    near = torch.nonzero(grid.near_arcs & torch.isfinite(log_least))[:, 0]
    ratios = []
    for k in near[:: max(len(near) // 6, 1)].tolist():
        at = float(grid.x[k]) + lens["light_x"], float(grid.y[k]) + lens["light_y"]
        table = kind.bending(fitted, DISTANCES, np.array([10 ** float(log_least[k])]))
        place = [torch.tensor([part], dtype=torch.float64) for part in at]
        expected, before = signals(fitted, *place, table)
        assert float(expected) == pytest.approx(4.0, rel=0.02)
        with torch.no_grad():
            pixels = fitted.observation.pixels + whitened_change(fitted, at, table)
            again = replace(fitted.observation, pixels=pixels)
            best = polish_from(again, fitted.smooth.best, fitted.smooth.belief)
        refitted = replace(fitted, observation=again, smooth=replace(fitted.smooth, best=best))
        _, after = signals(refitted, *place, table)
        ratios.append(float((after - before) / expected))
    assert len(ratios) >= 5
    assert np.median(ratios) == pytest.approx(1.0, abs=0.2)


def test_the_least_mass_is_interpolated_in_logarithms():
    power_law = (MASSES / 1e9)[:, None] ** 0.7 * np.array([[5.0, 2.0, 1e-9, 1e9]])
    least = of_snr(power_law).log_least_mass(5.0)
    assert float(least[0]) == pytest.approx(9.0)
    assert float(least[1]) == pytest.approx(9 + math.log10(2.5) / 0.7)
    assert math.isinf(float(least[2]))
    assert float(least[3]) == 7.0, "never below the smallest mass"


def test_expected_detections_are_those_of_the_mass_function(fitted):
    grid = of_snr(np.ones((len(MASSES), 3)))
    slope = fitted.smooth.best.lens["slope"]
    least = torch.tensor([8.0, 9.5, math.inf], dtype=torch.float64)
    masses = np.logspace(math.log10(LIGHTEST), math.log10(HEAVIEST), 200_001)
    number = masses**SLOPE
    total = np.trapezoid(number * masses, masses)
    convergence = (3 - slope) / 2 * fitted.einstein_radius ** (slope - 1)
    surface = DISTANCES.mass(1.0) / math.pi * convergence * MAP_SPACING**2
    expected = sum(
        np.trapezoid(np.where(masses > limit, number, 0), masses) for limit in (1e8, 10**9.5)
    )
    got = expected_detections(fitted, grid, least, DISTANCES, 0.02)
    assert got == pytest.approx(0.02 * surface * expected / total, rel=1e-3)


def test_a_row_counts_positions_and_inflation_divides(fitted, measured):
    settings = SensitivitySettings(JAFFE, 5.0, False, 0.01)
    row = row_of(fitted, measured, DISTANCES, settings)
    seen = measured.snr_of(1e10) >= 5
    assert seen.any()
    assert not seen.all()
    assert row.area_1e10_arcsec2 == pytest.approx(float(seen.sum()) * 0.01)
    assert row.fraction_1e10 == pytest.approx(float(seen.double().mean()))
    assert row.best_snr_1e10 == pytest.approx(float(measured.snr_of(1e10).max()))
    near = 10 ** measured.log_least_mass(5.0)[measured.near_arcs].numpy()
    assert (near <= row.least_mass_msun).mean() == pytest.approx(0.1, abs=0.02)
    assert (near <= row.median_mass_msun).mean() == pytest.approx(0.5, abs=0.02)
    assert (row.lens_redshift, row.significance, row.inflation) == (0.2, 5.0, 1.0)
    noisy = replace(measured, scatter=2.0)
    inflated = row_of(fitted, noisy, DISTANCES, replace(settings, inflation=True))
    assert inflated.inflation == inflated.map_scatter == 2.0
    assert inflated.best_snr_1e10 == pytest.approx(row.best_snr_1e10 / 2)
    assert inflated.least_mass_msun > row.least_mass_msun
    assert inflated.expected_detections < row.expected_detections
    quiet = row_of(fitted, replace(measured, scatter=0.5), DISTANCES,
                   replace(settings, inflation=True))  # fmt: skip
    assert quiet.inflation == 1.0, "a small scatter does not make masses smaller"


def test_the_map_of_a_lens_is_a_fits_image_about_its_centre(fitted, measured, tmp_path):
    from astropy.io import fits

    settings = SensitivitySettings(JAFFE, 5.0, False, 0.01)
    write_map(fitted, measured, settings, tmp_path)
    with fits.open(map_path(fitted.cutout.id, tmp_path)) as file:
        log_mass, header = file["LOGMASS"].data, file["LOGMASS"].header
        assert file[0].header["SIGNIF"] == 5.0
        assert file[0].header["PROFILE"] == "pseudo-jaffe"
        assert int(np.nansum(file["NEARARCS"].data)) == int(measured.near_arcs.sum())
    assert log_mass.shape == (measured.side, measured.side)
    assert np.isnan(log_mass[0, 0])
    best = int(measured.log_least_mass(5.0).argmin())
    row, column = np.unravel_index(np.nanargmin(log_mass), log_mass.shape)
    x = (column + 1 - header["CRPIX1"]) * header["CDELT1"] + header["CRVAL1"]
    y = (row + 1 - header["CRPIX2"]) * header["CDELT2"] + header["CRVAL2"]
    assert (x, y) == pytest.approx((float(measured.x[best]), float(measured.y[best])), abs=1e-6)
