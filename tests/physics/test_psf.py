"""Blurs against scipy's convolutions."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from lumpylens.physics.psf import Response, gaussian_matrix, gaussian_response, kernel_response

SIZE = 40
EYE = torch.eye(SIZE, dtype=torch.float64)


@pytest.fixture
def light():
    return torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).double()


def skewed_kernel(side=9):
    at = np.arange(side) - side // 2
    x, y = np.meshgrid(at, at)
    kernel = np.exp(-0.5 * (x**2 + y**2) / 1.5**2) + 0.2 * np.exp(-0.5 * ((x - 2) ** 2 + y**2))
    return kernel / kernel.sum()


@pytest.mark.parametrize("sigma", [0.8, 1.4, 2.5])
def test_a_gaussian_is_scipys(light, sigma):
    ours = gaussian_response(EYE, torch.tensor([sigma], dtype=torch.float64), 8)(light)
    theirs = gaussian_filter(
        light.numpy(), (0, 0, sigma, sigma), mode="constant", radius=(0, 0, 8, 8)
    )
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-12)


def test_each_image_may_have_its_own_width(light):
    sigmas = torch.tensor([1.0, 2.0], dtype=torch.float64)
    together = gaussian_response(EYE, sigmas, 8)
    alone = [gaussian_response(EYE, s[None], 8)(light[k : k + 1]) for k, s in enumerate(sigmas)]
    torch.testing.assert_close(together(light), torch.cat(alone))
    picked = together.select(torch.tensor([1]))
    torch.testing.assert_close(picked(light[1:]), alone[1])


def test_a_blur_keeps_the_flux_and_widens_by_its_variance():
    point = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.float64)
    point[0, 0, 20, 17] = 3.0
    spread = gaussian_response(EYE, torch.tensor([1.5], dtype=torch.float64), 10)(point)[0, 0]
    assert float(spread.sum()) == pytest.approx(3.0, abs=1e-12)
    at = torch.arange(SIZE, dtype=torch.float64)
    mean = float((spread.sum(0) * at).sum() / 3)
    assert mean == pytest.approx(17, abs=1e-9)
    assert float((spread.sum(0) * (at - mean) ** 2).sum() / 3) == pytest.approx(1.5**2, abs=1e-3)


@pytest.mark.parametrize("kernel", [skewed_kernel(), skewed_kernel().T, np.eye(5) / 5])
def test_a_given_kernel_is_scipys_convolution(light, kernel):
    made = kernel_response(EYE, torch.tensor(np.stack([kernel, kernel])), tolerance=1e-9)
    theirs = [convolve2d(image, kernel, mode="same") for image in light[:, 0].numpy()]
    np.testing.assert_allclose(made(light)[:, 0].numpy(), np.stack(theirs), atol=1e-8)


def test_fewer_terms_err_by_the_tolerance(light):
    at = np.arange(9) - 4
    x, y = np.meshgrid(at, at)
    oblique = np.exp(-0.5 * ((x + y) ** 2 / 8 + (x - y) ** 2 / 2))
    oblique /= oblique.sum()
    made = kernel_response(EYE, torch.tensor(oblique)[None], tolerance=1e-2)
    assert made.rows.shape[1] < 9
    exact = convolve2d(light[0, 0].numpy(), oblique, mode="same")
    error = np.abs(made(light[:1])[0, 0].numpy() - exact).max()
    assert 0 < error < 0.02


def test_the_tolerance_is_relative_to_the_norm_of_the_kernel():
    at = np.arange(15) - 7
    x, y = np.meshgrid(at, at)
    # Broad, so that its norm is far below one.
    wide = np.exp(-0.5 * ((x + y) ** 2 / 50 + (x - y) ** 2 / 8))
    wide /= wide.sum()
    values = np.linalg.svd(wide, compute_uv=False)
    lost = np.sqrt(np.cumsum(values[::-1] ** 2)[::-1]) / np.linalg.norm(values)
    for tolerance in (0.1, 1e-2, 1e-3):
        made = kernel_response(EYE, torch.tensor(wide)[None], tolerance)
        assert made.rows.shape[1] == np.count_nonzero(lost > tolerance)


def test_a_kernel_is_scaled_to_sum_one_and_has_odd_sides():
    flat = torch.full((1, SIZE, SIZE), 2.0, dtype=torch.float64)[:, None]
    made = kernel_response(EYE, torch.tensor(7 * skewed_kernel())[None], tolerance=1e-9)
    assert float(made(flat)[0, 0, 20, 20]) == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(ValueError, match="odd"):
        kernel_response(EYE, torch.ones(1, 4, 5))


def test_the_transposed_is_the_adjoint(light):
    basis = torch.rand(30, SIZE, generator=torch.Generator().manual_seed(2)).double()
    for made in (
        gaussian_response(basis, torch.tensor([1.3], dtype=torch.float64), 8),
        kernel_response(basis, torch.tensor(np.stack([skewed_kernel()] * 2))),
    ):
        other = torch.rand(2, 1, 30, 30, generator=torch.Generator().manual_seed(3)).double()
        left = (made(light) * other).sum()
        right = (light * made.transposed(other)).sum()
        assert float(left) == pytest.approx(float(right), rel=1e-12)


def test_a_response_with_one_image_serves_all(light):
    matrix = gaussian_matrix(SIZE, torch.tensor([1.2], dtype=torch.float64), 6)[:, None]
    both = Response(matrix, matrix)
    assert both.select(torch.tensor([0, 1, 1])) is both
    torch.testing.assert_close(both(light)[:1], both(light[:1]))


def test_the_kernel_is_cut_and_still_normalised():
    matrix = gaussian_matrix(SIZE, torch.tensor([3.0], dtype=torch.float64), 2)[0]
    middle = matrix[SIZE // 2]
    assert int((middle > 0).sum()) == 5
    assert math.isclose(float(middle.sum()), 1.0)


@pytest.mark.parametrize("like_rows", [True, False])
def test_light_at_centres_is_averaged_over_neighbours_before_it_is_blurred(like_rows):
    taps = torch.tensor(skewed_kernel())[None]
    made = kernel_response(EYE, taps, tolerance=1e-9)
    if like_rows:
        made = Response(made.rows, made.rows)
    light = torch.zeros(1, 1, *EYE.shape, dtype=made.rows.dtype)
    light[..., 12, 15] = 1
    averaged = light.clone()
    for axis in (2, 3):
        near = averaged.roll(1, dims=axis) + averaged.roll(-1, dims=axis)
        averaged = 0.9 * averaged + 0.05 * near
    torch.testing.assert_close(made.of_centres(0.1)(light), made(averaged))
