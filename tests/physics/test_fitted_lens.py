"""A real fit, end to end, and what is derived from it: row, remarks, inflation, planted masses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import lumpylens
from lumpylens.lenses.catalogue import LensCatalogue, row_of
from lumpylens.lenses.injection import inject, radius_of_snr, recover, well_seen_positions
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.perturber import filter_lens
from lumpylens.lenses.pictures import pictures_of
from lumpylens.lenses.quality import remarks
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.refine import refine
from lumpylens.lenses.remarks import Note, Remark
from lumpylens.lenses.significance import measure_inflation
from lumpylens.physics.critical_curve import effective_einstein_radius


@pytest.fixture
def found(fitted_lens):
    return fitted_lens.analysis


def changed(found, **numbers):
    """The analysis as if other numbers had been fitted."""
    lens = found.reported.lens
    values = lens.values.clone()
    for name, value in numbers.items():
        values[INDEX[name]] = value
    return with_best(found, lens=replace(lens, values=values))


def with_best(found, **parts):
    """With other parts of the smooth fit, and of the one that is reported."""
    mass = replace(found.mass, fitted=replace(found.mass.fitted, **parts))
    best = replace(found.smooth.best, **parts)
    return replace(found, mass=mass, smooth=replace(found.smooth, best=best))


def with_linear(found, **parts):
    lens = found.reported.lens
    return with_best(found, lens=replace(lens, linear=replace(lens.linear, **parts)))


def arcs(found, limit):
    """Compared pixels with more source light than `limit`, in units of the noise."""
    return found.observation.see(found.reported.lens.source_light[None])[0] > limit


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
    # A mass grows as the square of its radius.
    share = row.perturber_einstein_radius_error_arcsec / row.perturber_einstein_radius_arcsec
    assert row.perturber_mass_error_msun == pytest.approx(2 * share * row.perturber_mass_msun)
    assert row.error_inflation == fitted_lens.analysis.mass.inflation >= 1
    assert row.joint_error_inflation == fitted_lens.analysis.joint.inflation >= 1
    assert row.slope_error == fitted_lens.analysis.mass.error("slope")
    assert row.joint_slope_error == fitted_lens.analysis.joint.error("slope")
    assert abs(row.slope - 2.0) < 3 * row.slope_error
    assert row.priors.startswith("slope=2,0.15 ")
    assert row.mostly_prior == "", "the source is bright"
    parts = ("smooth", "filter", "noise", "perturber", "multipoles", "errors", "profiles")
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
        slope=1.9, light_x=0.2, light_y=-0.1, centre_x=0.23, centre_y=-0.05,
    )  # fmt: skip
    other = replace(other, noise_maxima=(2.5, 0.4))
    row = row_of(other, [Note(Remark.FAINT_SOURCE, (3.0,))], "digest")
    assert row.einstein_radius_arcsec == pytest.approx(1.5)
    assert row.einstein_radius_err == pytest.approx(1.5 * found.mass.error("log_einstein_radius"))
    assert row.effective_einstein_radius_arcsec == pytest.approx(
        1.5 * effective_einstein_radius(0.0, 0.5, 1.9, -0.1, 0.0)
    )
    assert row.ellipticity == pytest.approx(1 - math.exp(-0.5))
    assert row.ellipticity_angle_deg == pytest.approx(45)
    assert (row.shear, row.shear_angle_deg) == pytest.approx((0.1, 90))
    assert (row.slope, row.centre_x_arcsec, row.centre_y_arcsec) == pytest.approx((1.9, 0.2, -0.1))
    assert (row.mass_x_arcsec, row.mass_y_arcsec) == pytest.approx((0.03, 0.05))
    assert (row.noise_maximum, row.noise_maximum_scale) == (2.5, 0.4)
    assert row.residual_scatter == found.inflation.off_arcs
    assert row.map_scatter == found.inflation.of_map
    assert row.perturber_snr == pytest.approx(float(found.map.snr.max()))
    assert row.perturber_log_evidence == found.perturber.log_evidence
    assert row.perturber_log_evidence_multipoles == found.with_multipoles.log_evidence
    where = found.joint.fitted.lens
    assert row.perturber_x_arcsec == where["perturber_x"] - where["light_x"]
    assert row.perturber_y_arcsec == where["perturber_y"] - where["light_y"]
    assert row.perturber_einstein_radius_arcsec**2 == pytest.approx(where["perturber_strength"])
    residual = found.mass.fitted.lens.linear.residual
    assert row.chi2_per_pixel == pytest.approx(float(residual.square().mean()))
    assert row.source_order == found.mass.fitted.model.largest_order >= 12
    assert (row.quality, row.doubts) == ("faint source: total signal-to-noise ratio 3",
                                         "faint-source")  # fmt: skip
    assert row.digest == "digest"


def test_the_row_has_the_lens_that_belongs_to_the_perturber(found):
    row, lens = row_of(found, [], "digest"), found.joint.fitted.lens
    assert row.joint_einstein_radius_arcsec == math.exp(lens["log_einstein_radius"])
    assert row.joint_einstein_radius_arcsec != row.einstein_radius_arcsec
    assert row.joint_slope == lens["slope"] != row.slope
    assert row.joint_shear == math.hypot(lens["shear_1"], lens["shear_2"])
    assert row.joint_shear_angle_deg != row.shear_angle_deg
    assert row.joint_ellipticity == 1 - math.exp(-math.hypot(lens["eta_1"], lens["eta_2"]))
    assert row.joint_ellipticity_angle_deg != row.ellipticity_angle_deg
    assert row.joint_mass_x_arcsec == lens["centre_x"] - lens["light_x"]
    assert row.joint_mass_y_arcsec == lens["centre_y"] - lens["light_y"]


def doubted(found):
    return [note.remark for note in remarks(found)]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, []),
        ({"light_x": 0.59, "centre_x": 0.59}, []),
        ({"light_x": 0.61, "centre_x": 0.61}, [Remark.OFF_CENTRE]),
        ({"light_y": -0.61, "centre_y": -0.61}, [Remark.OFF_CENTRE]),
        ({"light_x": 0.06, "light_y": 0.06, "centre_x": 0.0, "centre_y": 0.0}, []),
        ({"light_x": 0.11, "centre_x": 0.0}, [Remark.MASS_APART]),
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


def test_a_lens_galaxy_that_is_not_seen_is_said_and_not_doubted(found):
    apart = changed(found, light_x=0.3, centre_x=0.0)
    notes = remarks(replace(apart, smooth=replace(apart.smooth, shines=False)))
    assert [note.remark for note in notes] == [Remark.NO_LENS_LIGHT]
    assert not notes[0].remark.is_doubt


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
    spread = found.mass.error("log_einstein_radius")
    for wanted, said in ((0.049, []), (0.051, [Remark.UNCERTAIN_RADIUS])):
        information = found.mass.fitted.information * (spread / wanted) ** 2
        assert doubted(with_best(found, information=information)) == said


def test_a_fit_that_has_not_converged_is_doubted(found):
    for left, said in ((0.24, []), (0.26, [Remark.NOT_CONVERGED])):
        assert doubted(with_best(found, left=left)) == said
        joint = replace(found.joint, fitted=replace(found.joint.fitted, left=left))
        assert doubted(replace(found, joint=joint)) == said


def test_a_poor_fit_is_one_that_is_poorer_on_the_arcs(found):
    residual, arc = found.reported.lens.linear.residual, arcs(found, 1.0)
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
    residual = found.reported.lens.linear.residual
    for size, said in ((0.5, []), (1.4, []), (0.4, [Remark.FAR_CHI2]), (1.5, [Remark.FAR_CHI2])):
        linear = {"residual": size * residual.sign(), "chi2": size**2 * len(residual)}
        assert doubted(with_linear(found, **linear)) == said


def test_a_faint_source_is_doubted(found):
    light = found.observation.see(found.reported.lens.source_light[None])[0]
    total = float(light.square().sum().sqrt())
    free = found.reported.lens.linear.free
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


@pytest.mark.slow
def test_a_planted_mass_is_recovered(found):
    (x, y), *_ = well_seen_positions(found, 1, torch.Generator().manual_seed(1))
    radius = radius_of_snr(found, x, y, 25.0)
    planted = recover(found, x, y, radius)
    assert planted.predicted_snr == pytest.approx(25.0)
    assert planted.einstein_radius == radius
    assert planted.distance == math.hypot(planted.fitted.x - x, planted.fitted.y - y)
    assert planted.distance < 0.15
    assert planted.fitted.einstein_radius == pytest.approx(radius, rel=0.3)
    assert planted.fitted.log_evidence > 60
    fell = planted.fitted.smooth.energy - planted.fitted.fitted.energy
    assert planted.fitted.log_evidence == pytest.approx(fell / 2)
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
    lens = found.reported.lens
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
