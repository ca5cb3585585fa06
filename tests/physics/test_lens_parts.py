"""The parts of a real lens's fit: the observation, the starts, the steps, the priors."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.model import INDEX, LIGHT, MULTIPOLES, RealLens, vector
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.perturber import PerturbationMap
from lumpylens.lenses.priors import Priors
from lumpylens.lenses.refine import LARGEST, Belief, refine
from lumpylens.lenses.smooth import (
    _distinct,
    _promising,
    _rivals,
    _start,
    beliefs,
    for_search,
)
from lumpylens.lenses.starts import (
    ROUNDNESS,
    TOLERATED,
    LensLight,
    Trial,
    _Ellipses,
    fit_lens_light,
    scan,
)
from lumpylens.physics.multi_gaussian import MultiGaussian


@pytest.fixture(scope="module")
def cutout():
    return made_cutout(side=51, scale=0.1, einstein_radius=1.0)


@pytest.fixture(scope="module")
def observation(cutout):
    return cut_disc(cutout, radius=2.0, roughness=0.05)


@pytest.fixture(scope="module")
def light(observation):
    return fit_lens_light(observation)


@pytest.mark.parametrize("unit", [1e-12, 1e12, 1e20])
def test_the_unit_of_an_image_does_not_matter(unit):
    """Masks written as a number of their own included."""
    plain = made_cutout(side=31, scale=0.1)
    noise = plain.noise.copy()
    noise[3:6, 20:] = 1e8
    image = plain.image.copy()
    image[3:6, 20:] = 1e6
    plain = replace(plain, image=image, noise=noise)
    scaled = replace(plain, image=image * np.float32(unit), noise=noise * np.float32(unit))
    one, other = (cut_disc(cutout, radius=1.5, roughness=0.03) for cutout in (plain, scaled))
    assert (one.usable == other.usable).all()
    assert not one.usable[one.pixels == 0].any()
    torch.testing.assert_close(one.data, other.data, rtol=1e-5, atol=1e-5)
    assert torch.isfinite(one.weight).all()
    lights = [fit_lens_light(each, steps=3) for each in (one, other)]
    torch.testing.assert_close(lights[0].values, lights[1].values, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_fit_is_the_same_in_every_unit(tmp_path):
    import lumpylens

    cutout = made_cutout(side=51, scale=0.1, einstein_radius=1.0)
    rows = [
        lumpylens.fit(
            lumpylens.LensImages.from_arrays(
                cutout.image[None] * np.float32(unit), noise=cutout.noise * np.float32(unit),
                psf=cutout.psf, pixel_scale_arcsec=0.1,
            ),
            progress=False,
        )[0]
        for unit in (1.0, 1e-12, 1e12, 1e20)
    ]  # fmt: skip
    for row in rows[1:]:
        for name in ("einstein_radius_arcsec", "shear", "slope", "chi2_per_pixel",
                     "perturber_snr", "residual_scatter"):  # fmt: skip
            assert getattr(row, name) == pytest.approx(getattr(rows[0], name), rel=1e-2), name
        assert row.quality == rows[0].quality == "good"


def test_an_observation_is_a_disc_in_its_place(cutout):
    """Also where it reaches beyond the image."""
    seen = cut_disc(cutout, radius=0.8, centre=(2.0, -0.5))
    rows, columns = np.nonzero(seen.usable.numpy())
    x, y = seen.x[rows, columns], seen.y[rows, columns]
    assert float(torch.hypot(x - 2.0, y + 0.5).max()) <= 0.8
    assert float(x.max()) == pytest.approx(2.5), "the last column of the image"
    everywhere = np.hypot(*np.meshgrid((np.arange(51) - 25) * 0.1 - 2.0,
                                       (np.arange(51) - 25) * 0.1 + 0.5))  # fmt: skip
    assert len(seen) == np.count_nonzero(everywhere <= 0.8)
    row, column = rows + seen.first_row, columns + seen.first_column
    expected = cutout.image[row, column] / cutout.noise[row, column]
    assert np.abs(seen.data.numpy() - expected).max() < 1e-4 * np.abs(expected).max()
    assert (row - 25) * 0.1 == pytest.approx(y.numpy())
    peak = torch.zeros_like(seen.pixels)
    peak[rows[0], columns[0]] = 1
    blurred = seen.blur(peak[None])[0]
    assert int(blurred.argmax()) == int(peak.argmax())
    assert float(blurred.max()) == pytest.approx(float(cutout.psf.max()), rel=1e-4)


def test_the_error_of_the_model_is_part_of_the_noise(cutout):
    flat = replace(cutout, image=np.full_like(cutout.image, 4.0))
    flat.image[0, 0] = -4.0
    plain, rough = (cut_disc(flat, radius=5.0, roughness=share) for share in (0.0, 0.1))
    variance = (rough.sigma**2 - plain.sigma**2).numpy() * cutout.unit**2
    inside = variance[rough.usable.numpy()]
    assert np.median(inside) == pytest.approx(0.4**2)
    assert inside.min() == pytest.approx((0.1 * 4 * 5 / 9) ** 2), "negative light is no light"


def test_masking_takes_pixels_and_gives_none_back(observation):
    use = torch.rand(observation.usable.shape, generator=torch.Generator().manual_seed(0)) > 0.5
    masked = observation.masked(use)
    assert (masked.usable == (observation.usable & use)).all()
    assert len(masked) == len(masked.data) == int(masked.usable.sum())
    assert (masked.weight[~masked.usable] == 0).all()
    assert (masked.weight[masked.usable] == observation.weight[masked.usable]).all()


def misfit(light) -> float:
    """What the fit of the lens galaxy lowers, written once more."""
    r = light.residual
    beyond = TOLERATED**2 * (1 + 2 * torch.log(r.clamp_min(TOLERATED) / TOLERATED))
    eta = light.values[[INDEX[name] for name in LIGHT[2:]]]
    return float(torch.where(r > TOLERATED, beyond, r**2).sum() + ROUNDNESS * (eta**2).sum())


def test_the_light_of_the_lens_gets_better_with_every_step(observation, light):
    found = [misfit(fit_lens_light(observation, steps=steps)) for steps in range(7)]
    assert all(after <= before for before, after in itertools.pairwise(found))
    assert found[-1] < found[0] - 5
    assert misfit(light) <= found[-1]


def test_a_step_that_makes_the_light_worse_is_not_kept(observation, monkeypatch):
    """Not even if it is the last."""
    best = fit_lens_light(observation, steps=2)
    taken, step = [], _Ellipses.step

    def overshoots(self, *arguments):
        taken.append(1)
        return step(self, *arguments) + (0.15 if len(taken) > 2 else 0.0)

    monkeypatch.setattr(_Ellipses, "step", overshoots)
    last = fit_lens_light(observation, steps=3)
    assert len(taken) == 3
    assert torch.equal(last.values, best.values)
    assert torch.equal(last.columns, best.columns)
    assert torch.equal(last.residual, best.residual)


def test_the_light_is_that_of_its_numbers(observation, light):
    """And the numbers those of the galaxy: the source, which sticks out, does not pull."""
    at_x, at_y, *eta = light.values[[INDEX[name] for name in LIGHT]]
    gaussians = MultiGaussian.at(
        observation.x - at_x, observation.y - at_y, torch.stack(eta).reshape(-1, 2),
        torch.logspace(math.log10(0.04), math.log10(3.2), 14, dtype=torch.float64), torch.float32,
    )  # fmt: skip
    assert torch.equal(light.columns, observation.blur(gaussians.columns()))
    assert math.hypot(at_x, at_y) < 0.02
    # The axis ratio is 0.8 at an angle of 0.4: eta is its logarithm, turning by twice the angle.
    expected = -math.log(0.8) * np.array([math.cos(0.8), math.sin(0.8)])
    assert light.eta == pytest.approx(expected, abs=0.06)


def test_a_masked_star_beside_the_lens_does_not_draw_the_fit(cutout):
    image, noise = cutout.image.copy(), cutout.noise.copy()
    image[25:29, 28:31], noise[25:29, 28:31] = 1e4, 1e8
    light = fit_lens_light(cut_disc(replace(cutout, image=image, noise=noise), radius=2.0))
    assert math.hypot(*light.values[[INDEX["light_x"], INDEX["light_y"]]]) < 0.05


def test_the_scan_finds_the_radius_of_a_lens_of_blobs():
    """A round isothermal lens, made here: the source is displaced by the radius along each ray."""
    line = (np.arange(61) - 30) * 0.05
    x, y = np.meshgrid(line, line)
    distance = np.hypot(x, y)
    bx, by = (at - at / distance.clip(1e-9) for at in (x, y))
    galaxy = np.exp(-(distance**2) / (2 * 0.3**2))
    arcs = np.exp(-((bx - 0.24) ** 2 + (by + 0.12) ** 2) / (2 * 0.08**2))
    psf = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    noise = np.full((61, 61), 0.01)
    seen = cut_disc(Cutout("round", 3 * galaxy + arcs, noise, psf, 0.05), radius=1.5)
    light = LensLight(vector(), seen.blur(place(seen, galaxy)[None]), seen.data, (0.0, 0.0))
    radii = torch.tensor([0.9, 1.0, 1.1], dtype=torch.float64)
    trials = scan(seen, light, radii, (0.0, 0.0))
    assert [trial.einstein_radius for trial in trials] == radii.tolist()
    assert trials[1].misfit < 0.01 * min(trials[0].misfit, trials[2].misfit)


def place(observation, image):
    """An image (H, W) in the square that is compared."""
    whole = torch.zeros_like(observation.pixels)
    row, column = -observation.first_row, -observation.first_column
    whole[row : row + len(image), column : column + len(image)] = torch.from_numpy(image)
    return whole


def trial(misfit: float, radius: float = 1.0) -> Trial:
    return Trial(radius, (0.1, 0.2), misfit, 0.3, -0.1, 0.2)


def test_minima_of_the_scan_are_followed_and_no_octave_goes_untried():
    misfits = [9, 8, 7, 8, 9, 5, 9, 9, 9, 9, 9, 9, 9, 9, 3, 9]
    trials = [trial(value, k) for k, value in enumerate(misfits)]
    chosen = [one.einstein_radius for one in _promising(trials)]
    assert chosen[:3] == [14, 5, 2], "minima, best first"
    assert 11 in chosen, "between them"
    assert 3 not in chosen, "beside a minimum"


def test_a_start_is_where_the_trial_was(light):
    values = _start(light, trial(1.0, 1.3))
    at = {name: float(values[position]) for name, position in INDEX.items()}
    assert at["log_einstein_radius"] == pytest.approx(math.log(1.3))
    assert (at["eta_1"], at["eta_2"], at["slope"]) == (0.1, 0.2, 2.0)
    assert at["source_x"] == pytest.approx(at["light_x"] + 0.3)
    assert at["source_y"] == pytest.approx(at["light_y"] - 0.1)
    assert (at["centre_x"], at["centre_y"]) == (at["light_x"], at["light_y"])
    assert at["log_source_scale"] == pytest.approx(math.log(0.1))


def ended(radius: float, energy: float):
    return SimpleNamespace(lens={"log_einstein_radius": math.log(radius)}, energy=energy)


def test_starts_that_end_at_one_radius_are_one():
    fits = [ended(1.0, 5.0), ended(1.02, 4.0), ended(1.2, 9.0), ended(1.21, 8.0)]
    assert _distinct(fits) == [fits[1], fits[3]]


def test_rivals_are_known_by_their_distance_from_the_best():
    second = [ended(1.0, 10.0), ended(1.3, 14.0)]
    first = [ended(0.5, 40.0), ended(1.0, 30.0)]
    rivals = _rivals(second, first)
    assert [radius for radius, _ in rivals] == pytest.approx([1.3, 0.5])
    assert [excess for _, excess in rivals] == [4.0, 10.0]


def test_priors_sit_on_the_light(light):
    shown = replace(light, eta=(0.3, 0.4))
    stated = beliefs(shown, Priors())
    belief = stated.of
    at_x, at_y = (float(light.values[INDEX[name]]) for name in ("light_x", "light_y"))
    assert belief["centre_x"] == pytest.approx((at_x, 0.04))
    assert belief["centre_y"] == pytest.approx((at_y, 0.04))
    # Mass is rounder than light: by a fifth, and by more where light is very flat.
    assert belief["eta_1"] == pytest.approx((0.24, 0.25))
    assert belief["eta_2"] == pytest.approx((0.32, 0.25))
    flat = beliefs(replace(light, eta=(0.0, 1.2)), Priors()).of
    assert flat["eta_2"][0] == pytest.approx(0.6)
    assert belief["slope"] == pytest.approx((2.0, 0.15))
    assert belief["shear_1"] == belief["shear_2"] == pytest.approx((0.0, 0.08))
    assert belief["log_einstein_radius"] == pytest.approx((math.log(1.2), 0.45))
    assert {belief[name] for name in MULTIPOLES} == {(0.0, 0.01)}
    # A search has half of the widths, but twice those of the multipoles.
    search = for_search(stated).of
    assert search.keys() == belief.keys()
    for name, (mean, spread) in belief.items():
        factor = 2.0 if name in MULTIPOLES else 0.5
        assert search[name] == pytest.approx((mean, factor * spread))


def test_priors_can_be_others(light):
    given = Priors(slope=(2.1, 0.3), einstein_radius=(2.0, 0.5), shear=0.02, ellipticity=0.1,
                   centre=0.3, multipoles=0.005)  # fmt: skip
    belief = beliefs(light, given).of
    assert belief["slope"] == (2.1, 0.3)
    assert belief["log_einstein_radius"] == pytest.approx((math.log(2.0), 0.25))
    assert belief["shear_1"] == (0.0, 0.02)
    assert [belief[name][1] for name in ("eta_2", "centre_x", "m4_sine")] == [0.1, 0.3, 0.005]


NUMBERS = {
    "log_einstein_radius": 0.0, "eta_1": 0.15, "eta_2": 0.16, "shear_1": 0.03, "shear_2": -0.02,
    "source_x": 0.08, "source_y": 0.12, "log_source_scale": math.log(0.1), "light_eta_1": 0.15,
    "light_eta_2": 0.16, "light_eta_3": 0.15, "light_eta_4": 0.16,
}  # fmt: skip


def test_no_step_is_longer_than_its_tangents_reach(observation):
    """The longest number sets it; the direction stays."""
    model = RealLens(observation, 4, 1e-3)
    start = vector(**NUMBERS | {"log_einstein_radius": 0.25, "source_x": -0.4})
    names = ("log_einstein_radius", "source_x", "source_y", "slope")
    far = refine(model, start, names, Belief({}), steps=1, learn_source=False)
    moved = far.lens.values - start
    parts = [abs(float(moved[INDEX[name]])) / LARGEST[name] for name in names]
    assert max(parts) == pytest.approx(1.0)


def test_a_perturber_has_no_negative_mass(observation):
    """Not even where the image asks for one."""
    model = RealLens(observation, 6, 1e-3)
    truth = vector(
        **NUMBERS, perturber_x=0.9, perturber_y=0.5, perturber_strength=-0.02
    )  # fmt: skip
    lens = model.lens(truth)
    pixels = observation.pixels.clone().flatten()
    pixels[observation.compared] = (observation.data - lens.linear.residual) / observation.weights
    hollow = replace(observation, pixels=pixels.reshape(observation.pixels.shape))
    start = truth.clone()
    start[INDEX["perturber_strength"]] = 0.01
    names = ("log_einstein_radius", "perturber_strength")
    fitted = refine(replace(model, observation=hollow), start, names, Belief({}))
    assert fitted.lens["perturber_strength"] == 0.0


def test_a_fit_keeps_its_best_and_its_priors_pull(observation):
    model = RealLens(observation, 6, 1e-3)
    start = vector(**NUMBERS | {"log_einstein_radius": 0.03})
    names = ("log_einstein_radius", "slope", "source_x", "source_y")
    free, held = (
        refine(model, start, names, Belief(of), steps=15)
        for of in ({"slope": (2.0, 10.0)}, {"slope": (1.7, 1e-3)})
    )
    assert free.energy < refine(model, start, names, Belief({}), steps=0).energy
    assert free.lens["log_einstein_radius"] == pytest.approx(0.0, abs=0.02)
    assert held.lens["slope"] == pytest.approx(1.7, abs=0.01)
    assert held.spread("slope") == pytest.approx(1e-3, rel=0.1)
    assert math.isnan(held.spread("shear_1"))
    assert Belief({"slope": (1.7, 0.1)}).energy(start) == pytest.approx(9.0)


def test_a_step_that_makes_a_lens_worse_is_not_kept(observation, monkeypatch):
    start = vector(**NUMBERS)
    names = ("log_einstein_radius", "source_x")
    monkeypatch.setattr("lumpylens.lenses.refine._limited", lambda move, names: move * 0 + 0.2)
    fitted = refine(RealLens(observation, 6, 1e-3), start, names, Belief({}), learn_source=False)
    assert torch.equal(fitted.lens.values, start)


def test_noise_maxima_are_the_largest_of_each_draw():
    """Independent responses of one pixel each: the largest of 200 normal numbers."""
    count = 200
    empty = torch.zeros(count)
    grid = PerturbationMap(
        empty, empty, empty, empty + 1, empty > -1, torch.eye(count), 14, 1.0
    )  # fmt: skip
    maxima = grid.noise_maxima(3000, torch.Generator().manual_seed(0))
    assert len(maxima) == 3000
    assert float(maxima.mean()) == pytest.approx(2.746, abs=0.03)
    blind = replace(grid, responses=torch.zeros(0, 9))
    assert (blind.noise_maxima(5, torch.Generator()) == 0).all()


@pytest.mark.parametrize("shift", [0.0, 0.013, -0.37, 1e-8])
def test_rounding_does_not_decide_which_positions_are_peaks(shift):
    """The second highest is 0.3 from the highest on a grid, wherever the lens galaxy lies."""
    x = torch.tensor([-0.3, -0.6, -0.7, 0.5], dtype=torch.float64) + shift
    y = torch.full_like(x, 0.8)
    snr = torch.tensor([4.0, 3.0, 2.0, 1.0])
    information, visible = torch.ones_like(x), torch.ones(4, dtype=torch.bool)
    grid = PerturbationMap(x, y, snr, information, visible, torch.zeros(0, 1), 2, 1.0)
    assert grid.peaks(3, 0.3) == [0, 2, 3]
    assert grid.peaks(3, 0.29) == [0, 1, 3]
