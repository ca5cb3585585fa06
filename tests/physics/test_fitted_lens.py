"""A real fit, end to end, and what is derived from it: row, remarks, inflation, planted masses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

import lumpylens
from lumpylens.data.sky import SkyFrame
from lumpylens.lenses.catalogue import LensCatalogue, row_of
from lumpylens.lenses.injection import inject, radius_of_snr, recover, well_seen_positions
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.perturber import filter_lens
from lumpylens.lenses.pictures import pictures_of
from lumpylens.lenses.products import product_paths, write_products
from lumpylens.lenses.quality import remarks
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.refine import refine
from lumpylens.lenses.remarks import Note, Remark
from lumpylens.lenses.significance import measure_inflation
from lumpylens.report.lens_figure import (
    ARROW_POINTS,
    _power_of_ten,
    _round_numbers,
    draw_lens_figure,
    write_lens_thumbnail,
)
from lumpylens.report.style import LIGHT


@pytest.fixture
def found(fitted_lens):
    return fitted_lens.analysis


def changed(found, **numbers):
    """The analysis as if other numbers had been fitted."""
    best = found.smooth.best
    values = best.lens.values.clone()
    for name, value in numbers.items():
        values[INDEX[name]] = value
    return with_best(found, lens=replace(best.lens, values=values))


def with_best(found, **parts):
    return replace(found, smooth=replace(found.smooth, best=replace(found.smooth.best, **parts)))


def with_linear(found, **parts):
    lens = found.smooth.best.lens
    return with_best(found, lens=replace(lens, linear=replace(lens.linear, **parts)))


def arcs(found, limit):
    """Compared pixels with more source light than `limit`, in units of the noise."""
    return found.observation.see(found.smooth.best.lens.source_light[None])[0] > limit


def test_a_smooth_lens_is_fitted_as_it_was_made(fitted_lens):
    row = fitted_lens.row
    assert row.id == "small"
    assert row.einstein_radius_arcsec == pytest.approx(1.0, abs=0.02)
    assert 0.0005 < row.einstein_radius_err < 0.02
    assert row.ellipticity == pytest.approx(0.2, abs=0.05)
    assert row.ellipticity_angle_deg == pytest.approx(math.degrees(0.4), abs=8)
    assert row.shear == pytest.approx(math.hypot(0.03, 0.02), abs=0.02)
    assert row.slope == pytest.approx(2.0, abs=0.2)
    assert 0.7 < row.chi2_per_pixel < 1.2
    assert math.hypot(row.centre_x_arcsec, row.centre_y_arcsec) < 0.02
    assert (row.quality, row.doubts, row.error, row.trusted) == ("good", "", "", True)
    assert row.perturber_log_evidence < 15
    assert 0.05 < row.perturber_p_value <= 1
    assert 0.8 < row.residual_scatter < 1.2
    assert 1.5 < row.noise_maximum < 3.5
    assert row.perturber_mass_msun == Redshifts(0.2, 0.6).mass(row.perturber_einstein_radius_arcsec)
    parts = ("smooth", "filter", "noise", "perturber", "multipoles")
    assert row.seconds == pytest.approx(sum(getattr(row, f"seconds_{part}") for part in parts))
    assert min(getattr(row, f"seconds_{part}") for part in parts) > 0
    assert [repr(one) for one in LensCatalogue.read(fitted_lens.table)] == [repr(row)]
    assert {path.name for path in fitted_lens.figures.iterdir()} == {"small.png", "small-dark.png"}


def test_a_second_run_takes_the_row_from_the_table(fitted_lens):
    (again,) = lumpylens.fit(
        fitted_lens.table.parent / "lenses", out=fitted_lens.table, figures=fitted_lens.figures,
        progress=False,
    )  # fmt: skip
    assert repr(again) == repr(fitted_lens.row), "times included: nothing was fitted"


def test_the_row_says_the_numbers_of_the_analysis(found):
    other = changed(
        found, log_einstein_radius=math.log(1.5), eta_1=0.0, eta_2=0.5, shear_1=-0.1, shear_2=0.0,
        slope=1.9, light_x=0.2, light_y=-0.1,
    )  # fmt: skip
    other = replace(other, noise_maxima=(2.5, 0.4))
    row = row_of(other, [Note(Remark.FAINT_SOURCE, (3.0,))], "digest")
    assert row.einstein_radius_arcsec == pytest.approx(1.5)
    spread = other.smooth.best.spread("log_einstein_radius")
    assert row.einstein_radius_err == pytest.approx(1.5 * spread)
    assert row.ellipticity == pytest.approx(1 - math.exp(-0.5))
    assert row.ellipticity_angle_deg == pytest.approx(45)
    assert (row.shear, row.shear_angle_deg) == pytest.approx((0.1, 90))
    assert (row.slope, row.centre_x_arcsec, row.centre_y_arcsec) == pytest.approx((1.9, 0.2, -0.1))
    assert (row.noise_maximum, row.noise_maximum_scale) == (2.5, 0.4)
    assert row.residual_scatter == found.inflation.off_arcs
    assert row.map_scatter == found.inflation.of_map
    assert row.perturber_snr == pytest.approx(float(found.map.snr.max()))
    assert row.perturber_log_evidence == found.perturber.log_evidence
    assert row.perturber_log_evidence_multipoles == found.with_multipoles.log_evidence
    where = found.perturber.fitted.lens
    assert row.perturber_x_arcsec == where["perturber_x"] - where["light_x"]
    assert row.perturber_y_arcsec == where["perturber_y"] - where["light_y"]
    assert row.perturber_einstein_radius_arcsec**2 == pytest.approx(where["perturber_strength"])
    residual = found.smooth.best.lens.linear.residual
    assert row.chi2_per_pixel == pytest.approx(float(residual.square().mean()))
    assert row.source_order == found.smooth.best.model.largest_order
    assert (row.quality, row.doubts) == ("faint source: total signal-to-noise ratio 3",
                                         "faint-source")  # fmt: skip
    assert row.digest == "digest"


def doubted(found):
    return [note.remark for note in remarks(found)]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, []),
        ({"light_x": 0.59}, []),
        ({"light_x": 0.61}, [Remark.OFF_CENTRE]),
        ({"light_y": -0.61}, [Remark.OFF_CENTRE]),
        ({"shear_1": 0.19, "shear_2": 0.0}, []),
        ({"shear_1": 0.15, "shear_2": 0.15}, [Remark.LARGE_SHEAR]),
        ({"eta_1": -0.9, "eta_2": 0.0}, []),
        ({"eta_1": -0.93, "eta_2": 0.0}, [Remark.LARGE_ELLIPTICITY]),
        ({"slope": 2.46}, [Remark.ODD_SLOPE]),
        ({"slope": 1.54}, [Remark.ODD_SLOPE]),
        ({"source_x": 0.0, "source_y": 0.97}, []),
        ({"source_x": 0.8, "source_y": 0.8}, [Remark.FAR_SOURCE]),
    ],
)
def test_numbers_that_are_doubted(found, numbers, said):
    assert doubted(changed(found, **numbers)) == said


@pytest.mark.parametrize(
    ("rivals", "said"),
    [
        (((1.5, 31.0), (1.03, 1.0)), None),
        (((1.02, 2.0), (1.5, 29.0)), 1.5),
        (((0.93, 29.0),), 0.93),
    ],
)
def test_another_radius_that_fits_is_named(found, rivals, said):
    notes = remarks(replace(found, smooth=replace(found.smooth, rivals=rivals)))
    assert notes == ([] if said is None else [Note(Remark.RIVAL_RADIUS, (said,))])


def test_a_radius_that_is_uncertain_is_doubted(found):
    spread = found.smooth.best.spread("log_einstein_radius")
    for wanted, said in ((0.049, []), (0.051, [Remark.UNCERTAIN_RADIUS])):
        information = found.smooth.best.information * (spread / wanted) ** 2
        assert doubted(with_best(found, information=information)) == said


def test_a_poor_fit_is_one_that_is_poorer_on_the_arcs(found):
    residual, arc = found.smooth.best.lens.linear.residual, arcs(found, 1.0)
    for off, on, said in (
        (1.0, 1.2, []),
        (1.0, 1.3, [Remark.POOR_FIT]),
        (0.5, 0.8, []),
        (0.5, 0.9, [Remark.POOR_FIT]),
    ):
        made = torch.where(arc, on, off) * residual.sign()
        notes = remarks(with_linear(found, residual=made))
        assert [note.remark for note in notes] == said
        for note in notes:
            assert note.numbers == pytest.approx((on**2, off**2))


def test_chi2_far_from_that_of_noise_is_doubted(found):
    residual = found.smooth.best.lens.linear.residual
    for size, said in ((0.5, []), (1.4, []), (0.4, [Remark.FAR_CHI2]), (1.5, [Remark.FAR_CHI2])):
        linear = {"residual": size * residual.sign(), "chi2": size**2 * len(residual)}
        assert doubted(with_linear(found, **linear)) == said


def test_a_faint_source_is_doubted(found):
    light = found.observation.see(found.smooth.best.lens.source_light[None])[0]
    total = float(light.square().sum().sqrt())
    free = found.smooth.best.lens.linear.free
    assert doubted(with_linear(found, free=free * (30 / total))) == []
    assert doubted(with_linear(found, free=free * (15 / total))) == [Remark.FAINT_SOURCE]


def test_a_small_cutout_is_doubted(found):
    assert found.cutout.reach_arcsec == pytest.approx(2.55)
    for side, said in ((50, []), (49, [Remark.SMALL_CUTOUT])):
        cutout = replace(found.cutout, image=found.cutout.image[:, :side])
        assert doubted(replace(found, cutout=cutout)) == said
    half = replace(found.cutout, pixel_scale_arcsec=0.06)
    (note,) = remarks(replace(found, cutout=half))
    assert str(note) == "the cutout reaches 1.53 arcsec from its middle; 2.5 are needed"


def test_notes_of_the_cutout_come_first_and_are_no_doubts(found):
    notes = (Note(Remark.NOT_NUMBERS, (5,)),)
    assert remarks(replace(found, cutout=replace(found.cutout, notes=notes))) == list(notes)


def test_inflation_is_the_scatter_off_the_arcs(found):
    """Whatever is left over on them; 1.7 times the noise there are 1.7."""
    arc = arcs(found, 0.5)
    random = torch.Generator().manual_seed(0)
    for scatter in (1.0, 1.7):
        draws = []
        for _ in range(20):
            noise = torch.randn(len(arc), generator=random, dtype=torch.float64)
            residual = torch.where(arc, 30.0, scatter * noise)
            inflation = measure_inflation(
                with_linear(found, residual=residual).smooth.best, found.map
            )
            draws.append(inflation.off_arcs**2)
        assert math.sqrt(np.mean(draws)) == pytest.approx(scatter, rel=0.05)
    visible = found.map.snr[found.map.visible]
    assert inflation.of_map == pytest.approx(float(visible.square().mean().sqrt()))


def test_a_planted_mass_changes_the_image_as_its_derivative_says(found):
    """In the unit of the file, at a place that is counted from the lens galaxy."""
    shifted = changed(found, light_x=0.1, light_y=-0.2)
    model, lens = shifted.smooth.best.model, shifted.smooth.best.lens
    x, y, strength = 0.7, 0.6, 1e-3
    values = lens.values.clone()
    places = [INDEX[name] for name in ("perturber_x", "perturber_y")]
    values[places] = torch.tensor([x + 0.1, y - 0.2], dtype=torch.float64)
    (tangent,) = model.tangents(replace(lens, values=values), ("perturber_strength",))
    expected = found.observation.picture(strength * tangent / found.observation.weights)
    row, column = found.observation.first_row, found.observation.first_column
    for unit in (1.0, 1000.0):
        cutout = replace(
            found.cutout, image=found.cutout.image * np.float32(unit),
            noise=found.cutout.noise * np.float32(unit),
        )  # fmt: skip
        planted = inject(replace(shifted, cutout=cutout), x, y, math.sqrt(strength))
        change = (planted.image.astype(float) - cutout.image) / unit
        rows, columns = np.nonzero(found.observation.usable.numpy())
        change = change[rows + row, columns + column]
        wanted = expected.numpy()[rows, columns] * found.cutout.unit
        assert np.abs(change - wanted).max() < 0.05 * np.abs(wanted).max()
        assert (planted.noise == cutout.noise).all()
    assert (inject(found, x, y, 0.0).image == found.cutout.image).all()


def test_a_planted_mass_is_recovered(found):
    (x, y), *_ = well_seen_positions(found, 1, torch.Generator().manual_seed(1))
    radius = radius_of_snr(found, x, y, 25.0)
    planted = recover(found, x, y, radius)
    assert planted.predicted_snr == pytest.approx(25.0)
    assert planted.einstein_radius == radius
    assert planted.distance == math.hypot(planted.found.x - x, planted.found.y - y)
    assert planted.distance < 0.15
    assert planted.found.einstein_radius == pytest.approx(radius, rel=0.3)
    assert planted.found.log_evidence > 60
    fell = planted.found.smooth.energy - planted.found.fitted.energy
    assert planted.found.log_evidence == pytest.approx(fell / 2)
    assert planted.snr > 8


def test_a_gain_is_half_of_what_the_energy_falls_by(found):
    """Energies are -2 ln evidence, and no mass at all is a perturber too."""
    for gain in (found.perturber, found.with_multipoles):
        fell = gain.smooth.energy - gain.fitted.energy
        assert gain.log_evidence == pytest.approx(max(fell, 0.0) / 2)
    assert found.perturber.log_evidence > 0
    assert found.perturber.smooth.lens["perturber_strength"] == 0
    assert found.perturber.einstein_radius > 0


def test_well_seen_positions_are_the_better_half_of_those_seen(found):
    places = well_seen_positions(found, 10_000, torch.Generator().manual_seed(0))
    visible = int(found.map.visible.sum())
    assert visible / 2 <= len(places) <= visible / 2 + 1
    lens = found.smooth.best.lens
    least = float(found.map.information[found.map.visible].median())
    for x, y in places[:20]:
        near = torch.hypot(found.map.x - lens["light_x"] - x, found.map.y - lens["light_y"] - y)
        assert float(near.min()) < 1e-9
        assert float(found.map.information[near.argmin()]) >= least
    again = well_seen_positions(found, 3, torch.Generator().manual_seed(0))
    assert again == places[:3]
    assert radius_of_snr(found, *places[0], 20.0) == pytest.approx(
        2 * radius_of_snr(found, *places[0], 5.0)
    )


def test_the_map_does_not_care_for_what_the_smooth_lens_can_still_do(found):
    """A residual that a little more Einstein radius would make says nothing of a perturber."""
    best, belief = found.smooth.best, found.smooth.belief
    values = best.lens.values.clone()
    values[INDEX["log_einstein_radius"]] += 0.004
    off = refine(best.model, values, best.names, belief, steps=0, learn_source=False)
    assert off.energy > best.energy + 4
    there, here = (filter_lens(fitted, belief, 1.5, spacing=0.2) for fitted in (off, best))
    seen = there.visible & here.visible
    assert int(seen.sum()) > 50
    assert float((there.snr - here.snr)[seen].abs().max()) < 0.35


def test_the_sensitivity_is_the_strength_that_would_be_seen(found):
    at = int(found.map.information.argmax())
    strength = float(found.map.sensitivity(5.0)[at])
    assert strength * math.sqrt(float(found.map.information[at])) == pytest.approx(5.0)
    assert torch.isinf(found.map.sensitivity()[~found.map.visible]).all()
    estimate = float(found.map.strength()[at]) * math.sqrt(float(found.map.information[at]))
    assert estimate == pytest.approx(float(found.map.snr[at]))
    peaks = found.map.peaks(3)
    snr = found.map.snr[peaks]
    assert float(snr[0]) == float(found.map.snr.max())
    assert (snr.diff() <= 0).all()
    assert all(math.dist((found.map.x[a], found.map.y[a]), (found.map.x[b], found.map.y[b])) > 0.3
               for a in peaks for b in peaks if a != b)  # fmt: skip


def test_pictures_have_the_lens_galaxy_in_the_middle(found):
    made = pictures_of(found, Redshifts(0.2, 0.6), [Note(Remark.FAR_SOURCE)])
    assert made.title.startswith("small: Einstein radius 1.00")
    assert made.title.endswith("(the source lies too far out to be imaged twice)")
    assert made.data.shape == made.model.shape == made.residual.shape
    left, right, bottom, top = made.extent
    pixels = made.data.shape
    assert (right - left) / pixels[1] == pytest.approx(0.1)
    assert (top - bottom) / pixels[0] == pytest.approx(0.1)
    brightest = np.unravel_index(np.nanargmax(made.data), pixels)
    assert abs(left + (brightest[1] + 0.5) * 0.1) < 0.1
    assert abs(bottom + (brightest[0] + 0.5) * 0.1) < 0.1
    noise = (made.data - made.model) / made.residual
    assert np.nanmin(noise) > 0
    shifted = pictures_of(changed(found, light_x=0.3, light_y=-0.2))
    lens = found.smooth.best.lens
    assert shifted.extent[0] == pytest.approx(left + lens["light_x"] - 0.3)
    assert shifted.extent[3] == pytest.approx(top + lens["light_y"] + 0.2)
    assert shifted.map_extent[1] == pytest.approx(made.map_extent[1] + lens["light_x"] - 0.3)
    plain = pictures_of(found)
    ratio = made.sensitivity / plain.sensitivity**2
    assert np.nanmedian(ratio) == pytest.approx(Redshifts(0.2, 0.6).mass(1.0))
    side = found.map.side
    assert made.snr.shape == (side, side)
    assert np.isnan(made.snr).sum() == side**2 - int(found.map.visible.sum())
    assert (made.map_extent[1] - made.map_extent[0]) / side == pytest.approx(0.1)


NORTH_UP, TURNED, MIRRORED = (
    SkyFrame(150.0, 2.0, ((a / 36000, b / 36000), (c / 36000, d / 36000)))
    for a, b, c, d in ((-1, 0, 0, 1), (-0.8, -0.6, -0.6, 0.8), (0.8, -0.6, 0.6, 0.8))
)
"""Pixels of 0.1 arcsec: north up; turned; turned and mirrored."""


def on_sky(found, sky):
    return replace(found, cutout=replace(found.cutout, sky=sky))


@pytest.mark.parametrize("sky", [NORTH_UP, TURNED, MIRRORED])
def test_lens_and_perturber_have_a_place_on_the_sky(found, sky):
    shifted = on_sky(changed(found, light_x=0.3, light_y=-0.2), sky)
    row = row_of(shifted, [], "digest")
    plane = WCS(fits.Header(sky.header(25.0, 25.0, 0.1)))
    x, y = row.perturber_x_arcsec, row.perturber_y_arcsec
    for place, at_x, at_y in (
        ((row.ra_deg, row.dec_deg), 0.3, -0.2),
        ((row.perturber_ra_deg, row.perturber_dec_deg), 0.3 + x, -0.2 + y),
    ):
        column, line = plane.wcs_world2pix(*place, 0)
        assert (column - 25, line - 25) == pytest.approx((at_x / 0.1, at_y / 0.1), abs=1e-4)
    assert math.isnan(row_of(on_sky(found, None), [], "digest").ra_deg)


def written(found, folder):
    """FITS extensions and region lines of an analysis."""
    row = row_of(found, [], "digest")
    write_products(found, pictures_of(found), row, folder)
    fits_file, region_file = product_paths(row.id, folder)
    with fits.open(fits_file, memmap=False) as hdus:
        images = {hdu.name: hdu.copy() for hdu in hdus[1:]}
    return row, images, region_file.read_text().splitlines()


@pytest.mark.parametrize("sky", [NORTH_UP, TURNED, MIRRORED])
def test_fits_images_lie_where_the_lens_is_on_the_sky(found, sky, tmp_path):
    row, images, regions = written(on_sky(found, sky), tmp_path)
    assert list(images) == ["DATA", "MODEL", "RESIDUAL", "SOURCE", "SNR", "SENSITIVITY"]
    # The cutout has 51 x 51 pixels; its middle is the point of the frame.
    whole = WCS(fits.Header(sky.header(25.0, 25.0, 0.1)))
    data, cutout = images["DATA"], found.cutout.image
    for column, line in ((0, 0), (30, 11), (7, 33)):
        value = data.data[line, column]
        if math.isnan(value):
            continue
        x, y = whole.wcs_world2pix(*WCS(data.header).wcs_pix2world(column, line, 0), 0)
        assert (x, y) == pytest.approx((round(float(x)), round(float(y))), abs=1e-3)
        assert value == pytest.approx(cutout[round(float(y)), round(float(x))], rel=1e-5)
    line, column = np.unravel_index(np.nanargmax(images["SNR"].data), images["SNR"].data.shape)
    best = int(found.map.snr.argmax())
    x, y = whole.wcs_world2pix(*WCS(images["SNR"].header).wcs_pix2world(column, line, 0), 0)
    expected = (25 + float(found.map.x[best]) / 0.1, 25 + float(found.map.y[best]) / 0.1)
    assert (float(x), float(y)) == pytest.approx(expected, abs=1e-3)
    lens, source = found.smooth.best.lens, images["SOURCE"]
    middle = [(length - 1) / 2 for length in source.data.shape]
    x, y = whole.wcs_world2pix(*WCS(source.header).wcs_pix2world(*middle, 0), 0)
    expected = (25 + lens["source_x"] / 0.1, 25 + lens["source_y"] / 0.1)
    assert (float(x), float(y)) == pytest.approx(expected, abs=1e-3)
    assert regions[0] == "icrs"
    assert regions[1].startswith(f"circle({row.ra_deg:.8f},{row.dec_deg:.8f},")


def test_without_a_sky_the_coordinates_are_arcsec_from_the_lens(found, tmp_path):
    row, images, regions = written(on_sky(found, None), tmp_path)
    for name in ("DATA", "SNR"):
        plane = WCS(images[name].header)
        column, line = plane.wcs_world2pix(0.3, -0.2, 0)
        left, bottom = plane.wcs_world2pix(0, 0, 0)
        assert (column - left, line - bottom) == pytest.approx((3, -2)), "0.1 arcsec per pixel"
    light = WCS(images["DATA"].header).wcs_world2pix(0, 0, 0)
    peak = np.unravel_index(np.nanargmax(images["DATA"].data), images["DATA"].data.shape)
    assert light == pytest.approx(peak[::-1], abs=1)
    residual = (images["DATA"].data - images["MODEL"].data) / images["RESIDUAL"].data
    assert np.nanmin(residual) > 0
    assert regions[0] == "image"
    x, y, radius = (float(part) for part in regions[1][7:].split(")")[0].split(","))
    assert (x, y) == pytest.approx(
        (26 + row.centre_x_arcsec / 0.1, 26 + row.centre_y_arcsec / 0.1), abs=1e-3
    )
    assert radius == pytest.approx(row.einstein_radius_arcsec / 0.1, abs=1e-3)


def test_a_thumbnail_has_row_0_at_the_bottom(found, tmp_path):
    data = np.zeros((20, 30))
    data[2, 25] = 1
    write_lens_thumbnail(replace(pictures_of(found), data=data), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (30, 20)
        light = np.asarray(picture.convert("L"))
    assert np.unravel_index(light.argmax(), light.shape) == (17, 25)


def test_colour_bars_have_few_round_numbers():
    assert _round_numbers(3.2e8, 4.4e9) == [6e8, 1e9, 2e9]
    assert _round_numbers(0.11, 0.36) == [0.2, 0.3]
    assert [_power_of_ten(value) for value in (6e8, 0.2, 1000.0)] == [
        r"$6\times10^{8}$", "0.2", "1000",
    ]  # fmt: skip


def circles(axes):
    return [line for line in axes.lines if line.get_marker() == "o"]


def test_the_figure_marks_the_perturber_wherever_it_lies(found):
    pictures = replace(pictures_of(found), perturber=(0.5, -0.3))
    (*rest,) = draw_lens_figure(LIGHT, pictures).axes[:6]
    names = [axes.get_title() for axes in rest]
    assert names == ["data", "smooth model", "residual", "source", "perturbation", "sensitivity"]
    for axes in rest:
        (mark,) = circles(axes) or [None]
        if axes.get_title() == "source":
            assert mark is None
        else:
            assert mark.get_xydata().tolist() == [[0.5, -0.3]]
            assert axes.get_xlim() == pictures.extent[:2]
            assert axes.get_ylim() == pictures.extent[2:]
        assert axes.get_xlabel() == "arcsec"
    far = draw_lens_figure(LIGHT, replace(pictures, perturber=(9.0, 3.0))).axes[:6]
    right = pictures.extent[1]
    for axes in far:
        assert not circles(axes)
        if axes.get_title() != "source":
            (arrow,) = axes.texts
            assert arrow.xy == pytest.approx((right, right / 3))


def test_the_note_says_why_the_circle_lies_outside_the_map(found):
    def note(x, y):
        values = found.perturber.fitted.lens.values.clone()
        values[INDEX["perturber_x"]] = values[INDEX["light_x"]] + x
        values[INDEX["perturber_y"]] = values[INDEX["light_y"]] + y
        lens = replace(found.perturber.fitted.lens, values=values)
        fitted = replace(found.perturber.fitted, lens=lens)
        moved = replace(found, perturber=replace(found.perturber, fitted=fitted))
        return pictures_of(moved).note

    assert note(0.9, 0.3).endswith(" arcsec.")
    assert "x = +0.90, y = +0.30" in note(0.9, 0.3)
    assert "empty there" in note(0.0, 0.0)
    assert "outside the maps, which end at 1.9" in note(1.5, 1.4)
    assert "arrow" not in note(1.5, 1.4)
    assert note(5.0, 0.0).endswith("An arrow at the edge points to it.")


@pytest.mark.parametrize(("sky", "arrows"), [(TURNED, 2), (None, 0)])
def test_the_data_have_arrows_to_north_and_east(found, sky, arrows):
    texts = draw_lens_figure(LIGHT, pictures_of(on_sky(found, sky))).axes[0].texts
    assert [text.get_text() for text in texts] == ["N", "E"][:arrows]
    for text, direction in zip(texts, (sky and sky.north, sky and sky.east), strict=False):
        assert np.array(text.xyann) / ARROW_POINTS == pytest.approx(direction)


def test_the_row_knows_how_exactly_a_mass_would_be_measured(found):
    seen = found.map.information[found.map.visible]
    error = row_of(found, [], "digest").strength_error_arcsec2
    assert error == pytest.approx(float(seen.median()) ** -0.5)
    assert 0.45 < float((seen > error**-2).double().mean()) < 0.55
    blind = replace(found.map, visible=torch.zeros_like(found.map.visible))
    assert math.isnan(blind.typical_error())
