"""The residual as a picture in which noise has unit variance."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import KEPT, Measurement, block_cosine_basis, compare
from lumpylens.physics.parameters import GEOMETRY, pack
from lumpylens.physics.render import Scene
from lumpylens.physics.residual import whitened_residual

SIZE, STEP, PSF = 24, 4.0, 1.5
COEFFICIENTS = (SIZE // 8 * KEPT) ** 2


def model_of(measurement):
    shared = pack(log_psf_sigma_px=math.log(PSF))[0]
    return SmoothModel(Scene(SIZE, SIZE), measurement, shared, GEOMETRY, NoiseLevel(1.0))


def compressed(active=None):
    steps = torch.full((SIZE // 8 * KEPT, SIZE // 8 * KEPT), STEP)
    return model_of(Measurement(0, 0, SIZE, steps, active))


def test_of_linear_images_it_is_data_minus_model_over_noise():
    generator = torch.Generator().manual_seed(0)
    predicted, noise = torch.rand(2, 16, generator=generator), torch.rand(2, 16) + 0.5
    observed = torch.rand(2, 16, generator=generator)
    # The noise of one pixel is 10 times as large, that of another is a mask's.
    noise[0, 3], noise[0, 7] = 10.0, 1e8
    model = model_of(Measurement(0, 0, 4))
    found = whitened_residual(model, compare(observed, predicted, noise))
    expected = ((observed - predicted) / noise).reshape(2, 4, 4)
    expected[0, 1, 3] = math.nan
    torch.testing.assert_close(found, expected, equal_nan=True)


@pytest.mark.parametrize("chosen", [None, 2])
def test_of_compressed_images_noise_has_unit_variance(chosen):
    active = None if chosen is None else torch.arange(1, COEFFICIENTS, chosen)
    model = compressed(active)
    count = COEFFICIENTS if active is None else len(active)
    generator = torch.Generator().manual_seed(1)
    predicted = 100 * torch.rand(1, count, generator=generator).expand(300, -1)
    sigma = torch.full((300, count), 3.0)
    noisy = predicted + 3.0 * torch.randn(300, count, generator=generator)
    observed = torch.round(noisy / STEP) * STEP
    found = whitened_residual(
        model, compare(observed, predicted, sigma, model.measurement.active_steps)
    )
    known = found[:, ~found[0].isnan()]
    assert known.shape[1] > 0.9 * SIZE**2
    assert float(known.mean()) == pytest.approx(0, abs=0.03)
    assert float(known.square().mean()) == pytest.approx(1, abs=0.05)


def test_of_compressed_images_a_blurred_spot_has_its_signal_to_noise_ratio():
    model, flux, sigma = compressed(), 60.0, 20.0
    spot = np.zeros((SIZE, SIZE))
    spot[9, 14] = 1.0
    spot = gaussian_filter(spot, PSF, mode="constant", radius=model.psf_radius)
    basis = block_cosine_basis(SIZE, dtype=torch.float64).numpy()
    seen = torch.tensor(basis @ spot @ basis.T, dtype=torch.float32).reshape(1, -1)
    flat, noise = torch.zeros_like(seen), torch.full_like(seen, sigma)
    # Far above the steps, rounding only adds its variance to the noise.
    seen_there = compare(flux * seen, flat, noise, model.measurement.active_steps)
    found = whitened_residual(model, seen_there)[0]
    expected = flux * float(seen.norm()) / math.sqrt(sigma**2 + STEP**2 / 12)
    assert float(found[9, 14]) == pytest.approx(expected, rel=0.01)
    assert float(found[9, 14]) == pytest.approx(float(found[found.isfinite()].max()), rel=0.05)
