"""`simulate`: seeds, stated distributions, noise, substructure."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm, uniform

from lumpylens.errors import DataError
from lumpylens.physics.deflection import point_masses
from lumpylens.simulation import (
    POPULATIONS,
    SUBSTRUCTURES,
    Population,
    Substructure,
    population,
    simulate,
    simulate_with_truth,
)
from lumpylens.simulation.camera import brightness, photograph, point_spread
from lumpylens.simulation.lens import add_substructure, draw_lens
from lumpylens.simulation.perturbers import masses_of

SLC, WIDE = POPULATIONS["slc"], POPULATIONS["wide"]


def pixels(images):
    return images.stack().pixels


def drawn(preset, n=1500, seed=1):
    random = np.random.default_rng(seed)
    return [draw_lens(preset, random) for _ in range(n)]


# -- what comes back ----------------------------------------------------------------------------


def test_challenge_images_come_as_the_reader_gives_the_real_ones():
    images = simulate("slc", 3, seed=9)
    one = images[1]
    assert images.ids == ["slc-9-0", "slc-9-1", "slc-9-2"]
    assert one.image.shape == (150, 150)
    assert one.image.dtype == np.float32
    assert one.stretched
    assert not one.error
    assert one.jpeg_table[0].tolist() == [8, 6, 5, 8, 12, 20, 26, 31]
    assert 700 < one.file_bytes < 1500
    assert one.noise is None
    assert one.psf is None
    assert set(np.unique(one.image % 1)) == {0.0}
    assert one.image.min() == 0
    assert one.image.max() > 250


def test_linear_images_come_with_noise_map_psf_and_scale():
    one = simulate("wide", 1)[0]
    assert not one.stretched
    assert one.jpeg_table is None
    assert one.noise.shape == one.image.shape
    assert one.psf.sum() == pytest.approx(1, abs=1e-6)
    assert one.pixel_scale_arcsec == 0.05


def test_labels_say_whether_there_is_substructure():
    assert simulate("slc", 2).labels.tolist() == [0, 0]
    assert simulate("slc", 2, substructure="points").labels.tolist() == [1, 1]


@pytest.mark.parametrize("preset", POPULATIONS)
@pytest.mark.parametrize("kind", [None, *SUBSTRUCTURES])
def test_every_preset_with_every_substructure_gives_good_images(preset, kind):
    if kind == "haloes" and POPULATIONS[preset].lens_redshift is None:
        with pytest.raises(DataError, match="need a population with redshifts"):
            simulate(preset, 1, substructure=kind)
        return
    images = simulate(preset, 2, substructure=kind)
    assert not any(one.error for one in images)


def test_the_table_holds_every_true_number():
    made = simulate_with_truth("wide", 3, seed=2, substructure="points")
    table = made.table()
    assert list(table["id"]) == made.images.ids
    assert table["einstein_radius_px"][1] == made.lenses[1].einstein_radius_px
    assert str(table["shear_angle_deg"].unit) == "deg"
    assert table["perturber_x_px"].shape == (3, 25)
    assert str(table["perturber_x_px"].unit) == "pix"
    smooth = simulate_with_truth("slc", 2).table()
    assert smooth["perturber_x_px"].shape == (2, 0)


def test_progress_is_shown_on_standard_error_unless_told(capsys):
    simulate("slc", 1, progress=False)
    assert capsys.readouterr() == ("", "")
    simulate("slc", 1)
    out, err = capsys.readouterr()
    assert not out
    assert "simulating" in err


# -- seeds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["slc", "wide"])
@pytest.mark.parametrize("kind", [None, "points"])
def test_an_image_alone_is_the_image_in_its_batch(preset, kind):
    together = pixels(simulate(preset, 5, seed=3, substructure=kind))
    alone = pixels(simulate(preset, seed=3, substructure=kind, indices=[4, 1]))
    np.testing.assert_array_equal(alone, together[[4, 1]])


def test_seeds_and_indices_give_different_images():
    first, second = pixels(simulate("slc", 3, seed=0)), pixels(simulate("slc", 3, seed=1))
    everything = np.concatenate([first, second]).reshape(6, -1)
    assert len(np.unique(everything, axis=0)) == 6


def test_substructure_leaves_the_smooth_lens_alone():
    smooth = simulate_with_truth("wide", 3, seed=5).lenses
    lumpy = simulate_with_truth("wide", 3, seed=5, substructure="points-compensated").lenses
    for a, b in zip(smooth, lumpy, strict=True):
        assert b.perturbers
        assert a == replace(b, perturbers=(), halo_einstein_radius_px=a.einstein_radius_px)


def test_global_seeds_neither_matter_nor_move():
    torch.manual_seed(1)
    first = pixels(simulate("wide", 2))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - that it stands still is the point
    np.testing.assert_array_equal(pixels(simulate("wide", 2)), first)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_the_number_of_threads_does_not_matter():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = pixels(simulate("wide", 2, substructure="points"))
        torch.set_num_threads(2)
        np.testing.assert_array_equal(pixels(simulate("wide", 2, substructure="points")), one)
    finally:
        torch.set_num_threads(threads)


# -- camera -------------------------------------------------------------------------------------

PLAIN = replace(WIDE, name="plain", size_px=100, noise_spread=0.0, photons=None)


def residual(preset, lens, seed):
    clean = brightness(lens, preset.size_px)
    seen = photograph(lens, preset, "one", 0, np.random.default_rng(seed))
    return clean, seen.image - clean - preset.sky, seen.noise


def test_noise_is_normal_white_and_of_the_stated_size():
    lens = drawn(PLAIN, 1)[0]
    _, noise, stated = residual(PLAIN, lens, 0)
    assert kstest((noise / PLAIN.noise).ravel(), norm.cdf).pvalue > 1e-4
    assert (stated == np.float32(PLAIN.noise)).all()
    for neighbour in (noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]):
        assert abs(neighbour.mean()) < 4 * PLAIN.noise**2 / 100


def test_photons_add_their_poisson_noise():
    preset = replace(PLAIN, photons=200.0)
    lens = drawn(preset, 1)[0]
    draws = [residual(preset, lens, seed) for seed in range(30)]
    clean, noise = draws[0][0], np.stack([draw[1] for draw in draws])
    expected = preset.noise**2 + clean / 200
    ratio = (noise**2).mean(axis=0) / expected
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    bright = clean > np.quantile(clean, 0.95)
    assert ratio[bright].mean() == pytest.approx(1, abs=0.04)
    # The map is made from the image itself, which costs it two per cent.
    chi2 = np.stack([draw[1] ** 2 / draw[2] ** 2 for draw in draws])
    assert chi2.mean() == pytest.approx(1, abs=0.03)
    assert chi2[:, bright].mean() == pytest.approx(1, abs=0.06)


def test_rectified_noise_brightens_the_sky():
    preset = replace(PLAIN, rectified=True)
    lens = drawn(preset, 1)[0]
    seen = photograph(lens, preset, "one", 0, np.random.default_rng(0)).image
    corner = seen[:12, :12] - brightness(lens, 100)[:12, :12]
    assert seen.min() >= 0
    # The mean of the absolute value of a normal number.
    assert corner.mean() == pytest.approx(preset.noise * math.sqrt(2 / math.pi), rel=0.15)


def test_more_rays_per_pixel_give_the_same_image():
    lens = drawn(SLC, 1, seed=3)[0]
    lumpy = add_substructure(lens, SUBSTRUCTURES["points"], np.random.default_rng(0))
    for one, tolerance in ((lens, 0.1), (lumpy, 0.15)):
        coarse, fine = brightness(one, 150), brightness(one, 150, samples=4)
        grey = 255 / fine.max()
        assert float(np.sqrt(((coarse - fine) ** 2).mean())) * grey < tolerance


def test_a_kernel_is_odd_and_normalised():
    kernel = point_spread(1.4)
    assert kernel.shape == (19, 19)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    at = np.arange(19) - 9
    assert (kernel.sum(axis=0) * at**2).sum() == pytest.approx(1.4**2, rel=1e-3)


@pytest.mark.parametrize("size", [33, 64])
def test_any_size_and_quality(size):
    preset = replace(SLC, size_px=size, einstein_radius_px=size / 8, jpeg_quality=90)
    one = simulate(preset, 1)[0]
    assert one.image.shape == (size, size)
    assert one.jpeg_table[0, 0] == 3


# -- substructure -------------------------------------------------------------------------------


def perturbers(kind, n=60, radius=20.0):
    random = np.random.default_rng(4)
    return [kind.draw(radius, random) for _ in range(n)]


def test_points_are_as_in_the_challenge():
    made = perturbers(SUBSTRUCTURES["points"])
    lumps = [one for _, masses in made for one in masses]
    assert len(lumps) == 60 * 25
    assert {halo for halo, _ in made} == {20.0}
    total = sum(one.einstein_radius_px**2 for one in made[0][1])
    assert total == pytest.approx(0.08 * 400)
    distance = np.array([math.hypot(one.x_px, one.y_px) for one in lumps]) / 20
    azimuth = np.array([math.atan2(one.y_px, one.x_px) for one in lumps])
    assert kstest(distance, uniform(0, 0.83).cdf).pvalue > 1e-4
    assert kstest(azimuth, uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4


@pytest.mark.parametrize("radial_range", [(0.0, 0.83), (0.0, 2.0)])
def test_a_compensated_halo_keeps_the_mass_within_the_einstein_radius(radial_range):
    kind = Substructure(mass_fraction=0.05, radial_range=radial_range, compensated=True)
    turn = torch.linspace(0, 2 * math.pi, 4001, dtype=torch.float64)[:-1]
    x, y = 20 * torch.cos(turn), 20 * torch.sin(turn)
    for halo, masses in perturbers(kind, 5):
        assert halo < 20
        # Gauss: the mean of the radial deflection on a circle is the mass inside over its radius.
        each = torch.tensor([[(m.x_px, m.y_px, m.einstein_radius_px) for m in masses]])
        ax, ay = point_masses(x[None, None], y[None, None], *each.double().unbind(-1))
        radial = halo + float(((ax * x + ay * y) / 20).mean())
        near = min(abs(math.hypot(m.x_px, m.y_px) - 20) for m in masses)
        if near > 0.2:  # else the circle is too coarse for the mass beside it
            assert radial == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("name", ["spheres", "haloes", "string"])
def test_a_halo_compensates_every_kind_of_mass(name):
    lenses = simulate_with_truth("lsst", 6, substructure=f"{name}-compensated").lenses
    turn = torch.linspace(0, 2 * math.pi, 20001)[:-1]
    cos, sin = torch.cos(turn)[None, None], torch.sin(turn)[None, None]
    for lens in lenses:
        radius = lens.einstein_radius_px
        ax, ay = masses_of(lens.perturbers).deflection(radius * cos, radius * sin)
        added = float((ax * cos + ay * sin).mean())
        assert added > 0.002 * radius
        assert lens.halo_einstein_radius_px + added == pytest.approx(radius, rel=1e-3)


def test_noise_that_is_counted_twice_is_stated_so():
    preset = replace(PLAIN, photons=200.0, counted_twice=True, sky=0.0)
    lens = drawn(preset, 1)[0]
    draws = [residual(preset, lens, seed) for seed in range(30)]
    clean, noise = draws[0][0], np.stack([draw[1] for draw in draws])
    bright = clean > np.quantile(clean, 0.9)  # elsewhere what is below zero is cut
    expected = preset.noise**2 + 2 * clean / 200
    assert ((noise**2).mean(axis=0) / expected)[bright].mean() == pytest.approx(1, abs=0.03)
    stated = np.stack([draw[2] for draw in draws])
    assert (noise**2 / stated**2)[:, bright].mean() == pytest.approx(1, abs=0.05)


def test_images_without_noise_have_no_noise_map():
    made = simulate_with_truth("model-2", 1)
    assert made.images[0].noise is None
    np.testing.assert_array_equal(made.images[0].image, brightness(made.lenses[0], 64))


def test_only_what_lies_inside_is_compensated():
    outside = Substructure(count=1, at_px=(30.0, 0.0), mass_fraction=0.1, compensated=True)
    assert outside.draw(20.0, np.random.default_rng(0))[0] == 20.0


def test_one_perturber_of_given_place_and_size():
    kind = Substructure(count=1, at_px=(3.0, -4.0), einstein_radius_px=1.5)
    (one,) = simulate_with_truth("slc", 1, substructure=kind).lenses[0].perturbers
    assert (one.x_px, one.y_px, one.einstein_radius_px) == (3.0, -4.0, 1.5)


def test_a_perturber_changes_the_image_beside_it():
    lens = replace(drawn(SLC, 1)[0], source_x_px=2.0, source_y_px=0.0, shear=0.0)
    place = Substructure(count=1, at_px=(-20.0, 0.0), einstein_radius_px=2.0)
    lumpy = add_substructure(lens, place, np.random.default_rng(0))
    change = np.abs(brightness(lumpy, 150) - brightness(lens, 150))
    row, column = np.unravel_index(change.argmax(), change.shape)
    # Columns count from the left: x = -20 is column 54.5, y = 0 is row 74.5.
    assert math.hypot(column - 54.5, row - 74.5) < 5


# -- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: simulate("slx"), "did you mean slc"),
        (lambda: simulate("slc", 1, substructure="point"), "did you mean points"),
        (lambda: simulate("slc", 0), "at least one image"),
        (lambda: simulate("slc", 1, seed=-1), "not negative"),
        (lambda: simulate("slc", indices=[]), "non-empty"),
        (lambda: simulate("slc", indices=[3, -1]), "not negative"),
        (lambda: replace(SLC, shear=(0.3, 0.0)), "shear is a pair"),
        (lambda: replace(SLC, source_axis_ratio=(0.0, 1.0)), "lies in 0 to 1"),
        (lambda: replace(SLC, psf_sigma_px=0.0), "psf_sigma_px must be positive"),
        (lambda: replace(SLC, einstein_radius_spread=0.5), "below 1/3"),
        (lambda: replace(SLC, noise=-0.1), "noise is zero or positive"),
        (lambda: replace(SLC, output="png"), "output is jpeg or linear"),
        (lambda: replace(WIDE, noise=0.0), "needs noise"),
        (lambda: replace(SLC, samples=2), "samples = 2"),
        (lambda: replace(SLC, cusp_pitch=1.0), "between 0 and 1 pixel"),
        (lambda: replace(WIDE, photons=0.0), "photons"),
        (lambda: Substructure(count=0), "at least one mass"),
        (lambda: Substructure(mass_fraction=1.2), "between 0 and 1"),
        (lambda: Substructure(radial_range=(0.5, 0.1)), "radial_range"),
        (lambda: Substructure(at_px=(0.0, 0.0)), "places one mass"),
        (lambda: Substructure(einstein_radius_px=0.0), "einstein_radius_px is positive"),
        (
            lambda: Substructure(
                count=1, at_px=(0.0, 0.0), einstein_radius_px=25.0, compensated=True
            ).draw(20.0, np.random.default_rng(0)),
            "heavier than the halo",
        ),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(DataError, match=words):
        call()


def test_a_population_of_ones_own_is_as_good_as_a_name():
    mine = Population(name="mine", size_px=40, einstein_radius_px=6.0)
    assert population(mine) is mine
    assert simulate(mine, 1).ids == ["mine-0-0"]
