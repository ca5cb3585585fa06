"""Compression and noise: the basis, the rounding, and the likelihood of rounded data."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from scipy.stats import norm

from lumpylens.physics.noise import (
    BLOCK,
    KEPT,
    Measurement,
    block_cosine_basis,
    compare,
    deviance_of,
    expected_deviance,
    jpeg_steps,
)
from lumpylens.simulation import simulate

STEP = 8.0


@pytest.fixture(scope="module")
def jpegs():
    images = simulate("slc", 4, seed=5)
    pixels = torch.tensor(np.stack([one.image for one in images]))
    return pixels, torch.tensor(images[0].jpeg_table)


def measurement(table, row=16, column=24, size=104):
    return Measurement(row, column, size, jpeg_steps(table, size // BLOCK))


# -- basis --------------------------------------------------------------------------------------


def test_the_basis_is_scipys_cosine_transform_of_each_block():
    image = np.random.default_rng(0).normal(size=(24, 24))
    basis = block_cosine_basis(24, dtype=torch.float64).numpy()
    ours = basis @ image @ basis.T
    blocks = image.reshape(3, 8, 3, 8).transpose(0, 2, 1, 3)
    theirs = dctn(blocks, axes=(2, 3), norm="ortho")[:, :, :KEPT, :KEPT]
    np.testing.assert_allclose(
        ours, theirs.transpose(0, 2, 1, 3).reshape(3 * KEPT, 3 * KEPT), atol=1e-12
    )


def test_all_frequencies_are_an_orthonormal_basis():
    basis = block_cosine_basis(16, frequencies=BLOCK, dtype=torch.float64)
    torch.testing.assert_close(basis @ basis.T, torch.eye(16, dtype=torch.float64))


def test_a_basis_needs_whole_blocks():
    with pytest.raises(ValueError, match="multiple of 8"):
        block_cosine_basis(150)


def test_steps_lie_like_the_coefficients():
    table = torch.arange(64).reshape(8, 8) + 1
    steps = jpeg_steps(table, 2)
    assert steps.shape == (2 * KEPT, 2 * KEPT)
    # Row is the vertical frequency, within every block.
    assert float(steps[1, 2]) == float(table[1, 2]) == float(steps[KEPT + 1, KEPT + 2])


# -- JPEG files ---------------------------------------------------------------------------------


def test_a_jpeg_is_observed_as_its_files_multiples(jpegs):
    pixels, table = jpegs
    seen = measurement(table)
    region = pixels.double().numpy()[:, 16:120, 24:128] - 128
    blocks = region.reshape(-1, 13, 8, 13, 8).transpose(0, 1, 3, 2, 4)
    held = np.round(dctn(blocks, axes=(3, 4), norm="ortho") / table.numpy()) * table.numpy()
    held[..., 0, 0] += 128 * 8
    wanted = held[..., :KEPT, :KEPT].transpose(0, 1, 3, 2, 4).reshape(-1, 13 * KEPT, 13 * KEPT)
    np.testing.assert_allclose(seen.observe(pixels).numpy(), wanted, rtol=0, atol=1e-3)


def test_decoding_moves_coefficients_by_less_than_half_their_steps(jpegs):
    pixels, table = jpegs
    seen = measurement(table)
    # Rounding to whole grey levels: 0.29 rms in each orthonormal coefficient.
    assert float(seen.off_lattice(pixels).max()) < 0.3
    assert float(seen.off_lattice(pixels * 0.9).min()) > 0.8


def test_compressing_what_was_observed_gives_it_again(jpegs):
    """Coefficients to pixels, through a real encoder, back to the same coefficients."""
    pixels, table = jpegs
    stream = io.BytesIO()
    Image.fromarray(pixels[0].numpy().astype(np.uint8)).save(stream, "JPEG", quality=75)
    again = torch.tensor(np.array(Image.open(stream)), dtype=torch.float32)[None]
    seen = measurement(table)
    first, second = seen.observe(pixels[:1]), seen.observe(again)
    assert float((first != second).float().mean()) < 2e-3


def test_linear_images_are_compared_pixel_by_pixel(jpegs):
    pixels, _ = jpegs
    seen = Measurement(10, 20, 40)
    assert torch.equal(seen.observe(pixels), pixels[:, 10:50, 20:60])
    assert torch.equal(seen.basis, torch.eye(40))
    assert not seen.off_lattice(pixels).any()


def test_a_constant_image_has_the_constants_coefficients():
    table = torch.full((8, 8), 1)
    seen = Measurement(0, 0, 16, jpeg_steps(table, 2))
    flat = torch.full((1, 16, 16), 5.0)
    torch.testing.assert_close(seen.observe(flat)[0], 5 * seen.constant, rtol=0, atol=1e-3)
    torch.testing.assert_close(seen.local_mean(5 * seen.constant), torch.full((10, 10), 5.0))


def test_only_chosen_coefficients_are_compared():
    active = torch.tensor([0, 3, 7])
    seen = Measurement(0, 0, 8, jpeg_steps(torch.arange(64).reshape(8, 8), 1), active)
    values = torch.arange(25.0).reshape(1, 5, 5)
    assert seen.select(values).tolist() == [[0.0, 3.0, 7.0]]
    assert seen.active_steps.tolist() == [0.0, 3.0, 10.0]


# -- likelihood ---------------------------------------------------------------------------------


def outcomes(predicted, sigma, step, reach=60):
    """All rounded values that could be seen, and their exact probabilities."""
    middle = round(predicted / step)
    values = (np.arange(-reach, reach + 1) + middle) * step
    edges = np.append(values - step / 2, values[-1] + step / 2)
    probability = np.diff(norm.cdf(edges, predicted, sigma))
    return torch.tensor(values), torch.tensor(probability)


def same(value, like):
    return torch.full_like(like, value)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 30.0])
def test_the_deviance_is_twice_the_log_probability(sigma):
    values, probability = outcomes(3.1, sigma, STEP)
    seen = compare(values, same(3.1, values), same(sigma, values), torch.tensor(STEP).double())
    exact = probability > 1e-12
    torch.testing.assert_close(
        seen.deviance[exact], -2 * torch.log(probability[exact]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("rounded", [True, False])
def test_the_score_is_the_slope_of_the_log_likelihood(sigma, rounded):
    observed = torch.arange(-5, 6, dtype=torch.float64) * STEP
    steps = torch.tensor(STEP).double() if rounded else None
    predicted = torch.full_like(observed, 1.7).requires_grad_()
    seen = compare(observed, predicted, same(sigma, observed), steps)
    (slope,) = torch.autograd.grad(-0.5 * seen.deviance.sum(), predicted)
    # Between steps that hold all the probability the likelihood is flat to double precision.
    torch.testing.assert_close(seen.score.detach(), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 20.0])
def test_the_curvature_is_minus_the_scores_slope(sigma):
    observed = torch.arange(-3, 4, dtype=torch.float64) * STEP
    at = torch.full_like(observed, 1.7)

    def score(shift):
        return compare(observed, at + shift, same(sigma, at), torch.tensor(STEP).double()).score

    numeric = -(score(1e-4) - score(-1e-4)) / 2e-4
    seen = compare(observed, at, same(sigma, at), torch.tensor(STEP).double())
    torch.testing.assert_close(seen.curvature, numeric, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("sigma", "tolerance"), [(0.4, 0.01), (1.5, 0.01), (3.0, 0.05),
                                                  (5.0, 0.08), (16.0, 0.01)])  # fmt: skip
@pytest.mark.parametrize("offset", [0.0, 0.2, 0.45])
def test_the_information_is_the_variance_of_the_score(sigma, tolerance, offset):
    predicted = 40 + offset * STEP
    values, probability = outcomes(predicted, sigma, STEP)
    seen = compare(
        values, same(predicted, values), same(sigma, values), torch.tensor(STEP).double()
    )
    assert abs(float((probability * seen.score).sum())) < 1e-6
    variance = float((probability * seen.score.square()).sum())
    # Between half a step and a step of noise the two expressions for the information meet.
    scale = max(variance, 1e-3 / sigma**2)
    assert abs(float(seen.information[0]) - variance) < tolerance * scale


def test_fine_rounding_is_no_rounding():
    observed = torch.linspace(-4, 4, 9, dtype=torch.float64)
    predicted, sigma = same(0.3, observed), same(1.5, observed)
    fine = compare(observed, predicted, sigma, torch.tensor(0.01).double())
    exact = compare(observed, predicted, sigma)
    torch.testing.assert_close(fine.score, exact.score, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(fine.information, exact.information, rtol=1e-3, atol=0)
    # A probability and a density differ by the width of the interval.
    shift = 2 * math.log(1.5 * math.sqrt(2 * math.pi) / 0.01)
    torch.testing.assert_close(fine.deviance - shift, exact.deviance, rtol=1e-3, atol=1e-3)


def test_absurd_residuals_stay_finite_in_single_precision():
    observed = torch.tensor([0.0, 8.0, 800.0, 8e4])
    seen = compare(observed, torch.zeros(4), torch.full((4,), 0.05), torch.tensor(STEP))
    for part in (seen.score, seen.information, seen.curvature, seen.deviance):
        assert torch.isfinite(part).all()
    assert (seen.deviance.diff() > 0).all()


@pytest.mark.parametrize("sigma", [0.4, 1.5, 3.0])
@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_expected_deviance_is_its_mean(sigma, offset):
    predicted = offset * STEP
    values, probability = outcomes(predicted, sigma, STEP)
    steps = torch.tensor(STEP).double()
    seen = compare(values, same(predicted, values), same(sigma, values), steps)
    possible = probability > 0
    deviance = seen.deviance[possible]
    mean = float((probability[possible] * deviance).sum())
    variance = float((probability[possible] * (deviance - mean).square()).sum())
    ours, spread = expected_deviance(same(predicted, values), same(sigma, values), steps)
    assert float(ours[0]) == pytest.approx(mean, rel=0.02, abs=1e-4)
    assert float(spread[0]) == pytest.approx(variance, rel=0.1, abs=1e-3)


def test_a_gaussian_deviates_by_chi_squared():
    mean, variance = expected_deviance(torch.zeros(3), torch.ones(3))
    assert mean.tolist() == [1, 1, 1]
    assert variance.tolist() == [2, 2, 2]


# -- the likelihood in compiled code ------------------------------------------------------------


def rounded(half, *shape, reach=4.0, seed=0):
    """Observed, predicted, sigma and steps, single precision; residuals to 10^reach sigma."""
    random = np.random.default_rng(seed)
    steps = random.integers(10, 61, shape[-1]).astype(np.float32)
    sigma = (steps / (2 * half) * random.uniform(0.8, 1.25, shape)).astype(np.float32)
    observed = steps * random.integers(-8, 9, shape)
    # Within the interval, some sigma beside it, and any number of sigma away.
    aside = steps * random.uniform(-0.5, 0.5, shape) * random.integers(0, 2, shape)
    beyond = random.choice([-1, 1], shape) * 10 ** random.uniform(-3, reach, shape)
    wide = random.integers(0, 3, shape)
    away = np.select([wide == 0, wide == 1], [0, random.normal(0, 3, shape)], beyond)
    predicted = observed + aside + sigma * away
    parts = (observed, predicted, sigma, steps)
    return [torch.tensor(part, dtype=torch.float32) for part in parts]


def assert_close_in_units(single, double, unit, tolerance):
    """To a part of the number and of the least one that matters."""
    error = (single.double() - double).abs() / (double.abs() + unit)
    assert single.dtype == torch.float32
    assert float(error.max()) < tolerance


@pytest.mark.parametrize(("half", "tolerance"), [(0.01, 1e-4), (0.1, 5e-6), (0.5, 2e-6),
                                                 (1.0, 2e-6), (2.0, 2e-6), (5.0, 2e-6),
                                                 (30.0, 2e-6), (1e4, 2e-6)])  # fmt: skip
def test_the_compiled_likelihood_is_torchs_in_double_precision(half, tolerance):
    single = rounded(half, 8, 1616)
    double = [part.double() for part in single]
    seen, exact = compare(*single), compare(*double)
    weight = double[2] ** -2
    assert_close_in_units(seen.score, exact.score, weight.sqrt(), tolerance)
    assert_close_in_units(seen.information, exact.information, 1e-3 * weight, tolerance)
    assert_close_in_units(seen.curvature, exact.curvature, weight, tolerance)
    assert_close_in_units(seen.deviance, exact.deviance, 1.0, tolerance)
    assert (seen.deviance >= 0).all()
    assert torch.equal(deviance_of(*single), seen.deviance)
    for ours, expected in zip(
        expected_deviance(*single[1:]), expected_deviance(*double[1:]), strict=True
    ):
        assert_close_in_units(ours, expected, 1.0, tolerance)
        assert (ours >= 0).all()


@pytest.mark.parametrize("count", [1, 7, 513, 1616])
def test_a_datum_has_the_same_likelihood_alone_as_among_others(count):
    among = rounded(1.0, 3, 1616, reach=2.0)
    alone = [part[..., -count:] for part in among]
    alone[:3] = [part[1:2] for part in alone[:3]]
    for part in ("score", "information", "curvature", "deviance"):
        together = getattr(compare(*among), part)[1:2, -count:]
        assert torch.equal(getattr(compare(*alone), part), together)
    for ours, together in zip(
        expected_deviance(*alone[1:]), expected_deviance(*among[1:]), strict=True
    ):
        assert torch.equal(ours, together[1:2, -count:])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_what_is_no_number_has_no_likelihood(wrong, argument):
    """A step of a fit that ends there must not look like a good one."""
    single = rounded(1.0, 2, 600, reach=2.0)
    single[argument][1, 70] = wrong
    seen = compare(*single)
    for part in (seen.score, seen.curvature, seen.deviance, deviance_of(*single)):
        assert torch.isfinite(part).logical_not().nonzero().tolist() == [[1, 70]]
    if argument:
        for part in (seen.information, *expected_deviance(*single[1:])):
            assert torch.isfinite(part).logical_not().nonzero().tolist() == [[1, 70]]


@pytest.mark.parametrize("half", [1e-6, 1e-9])
def test_an_interval_nearly_without_width_has_finite_likelihood(half):
    seen = compare(*rounded(half, 2, 600, reach=2.0))
    for part in (seen.score, seen.information, seen.curvature, seen.deviance):
        assert torch.isfinite(part).all()
    assert float(seen.curvature.min()) >= 0
    assert 20 < float(seen.deviance.min()) < 40


def test_no_data_have_no_likelihood():
    nothing = rounded(1.0, 0, 5)
    assert compare(*nothing).information.shape == (0, 5)
    assert expected_deviance(*nothing[1:])[1].shape == (0, 5)


def test_gradients_in_single_precision_are_torchs():
    observed, predicted, sigma, steps = rounded(1.0, 2, 40, reach=1.0)
    predicted.requires_grad_()
    (slope,) = torch.autograd.grad(
        -0.5 * deviance_of(observed, predicted, sigma, steps).sum(), predicted
    )
    score = compare(observed, predicted.detach(), sigma, steps).score
    torch.testing.assert_close(slope, score, rtol=1e-4, atol=1e-4)


# -- rounding to grey levels --------------------------------------------------------------------


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.05, 0.3])
def test_rounding_leaves_the_mean_of_a_flat_block_uncertain(spread):
    """Monte Carlo of the mean of 64 rounded pixels of one brightness and some noise."""
    random = np.random.default_rng(0)
    level = random.uniform(0, 1, (20_000, 1))
    noise = math.sqrt(spread) * random.standard_normal((20_000, 64))
    error = 8 * ((np.rint(level + noise) - level).mean(axis=1) - noise.mean(axis=1))
    seen = Measurement(0, 0, 8, torch.ones(KEPT, KEPT))
    flat = torch.zeros(1, KEPT, KEPT)
    added = seen.rounding_variance(flat, torch.full_like(flat, spread))
    assert not added[0, 1:].any()
    # The independent part, 1/12, belongs to every coefficient and to the floor of the noise.
    correlated = error.var() - (1 - math.exp(-4 * math.pi**2 * spread)) / 12
    # One harmonic stands for all of them, with the variance of all: an upper bound, by 1.65 at
    # most, where both are small beside the noise.
    assert 0.95 * correlated - 0.03 < float(added[0, 0, 0]) < 1.7 * correlated + 0.03


def test_brightness_that_varies_in_a_block_makes_its_mean_certain():
    seen = Measurement(0, 0, 16, torch.ones(2 * KEPT, 2 * KEPT))
    varied = torch.zeros(1, 2 * KEPT, 2 * KEPT)
    varied[0, ::KEPT, ::KEPT] = 800.0
    # A cosine of variance 0.05 across the second block of the first row.
    varied[0, 0, KEPT + 1] = BLOCK * math.sqrt(0.05)
    added = seen.rounding_variance(varied, torch.zeros_like(varied))[0, ::KEPT, ::KEPT]
    flat = BLOCK**2 / 12
    expected = [[flat, flat * math.exp(-4 * math.pi**2 * 0.05)], [flat, flat]]
    # Single precision leaves two digits of a spread beside a mean of 800.
    torch.testing.assert_close(added, torch.tensor(expected), rtol=0.02, atol=0)
