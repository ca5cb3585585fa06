"""Directions in which the instrument errs are those of each image's own blur."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lumpylens.physics.fit_data import Data, Fit
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import GEOMETRY, pack
from lumpylens.physics.perturbation import FittedLight, misfit_columns
from lumpylens.physics.render import Scene

SIDE, RADIUS = 48, 8
SIGMAS = (1.0, 1.6)


def model(free: tuple[str, ...]) -> SmoothModel:
    shared = pack(log_einstein_radius_px=torch.tensor([np.log(9.0)]), log_psf_sigma_px=0.0)[0]
    return SmoothModel(
        Scene(SIDE, SIDE, cusp_samples=1), Measurement(0, 0, SIDE), shared, free, NoiseLevel(1.0),
        psf_radius=RADIUS,
    )  # fmt: skip


@pytest.fixture
def fitted() -> Fit:
    """Two lenses that differ in their blur alone, the last free number."""
    values = model((*GEOMETRY, "log_psf_sigma_px")).shared[None].repeat(2, 1)
    values = model((*GEOMETRY, "log_psf_sigma_px")).reduce(values)
    values[:, -1] = torch.tensor(SIGMAS).log()
    amplitudes = torch.tensor([[20.0, 30.0, 1.0]]).repeat(2, 1)
    none = torch.zeros(2, dtype=torch.float64)
    return Fit(values, amplitudes, none, none, none.bool())


def images(**given) -> Data:
    """What images bring along; their pixels do not matter."""
    nothing = torch.empty(len(next(iter(given.values()), [None, None])), 0)
    return Data(nothing, nothing, **given)


def columns(smooth: SmoothModel, fitted: Fit, data: Data) -> torch.Tensor:
    return misfit_columns(smooth, fitted, FittedLight.of(smooth, fitted), data)


def expected(smooth: SmoothModel, fitted: Fit, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Wings of the blur and root of the image, by scipy."""
    light = smooth.scene.light(smooth.expand(fitted.values))
    lens, source = 20 * light.lens[k].double().numpy(), 30 * light.source[k].double().numpy()
    wings = gaussian_filter(lens, 2 * SIGMAS[k], mode="constant", radius=2 * RADIUS)
    picture = gaussian_filter(lens + source, SIGMAS[k], mode="constant", radius=RADIUS)
    return wings, np.sqrt(picture + 1)


def test_each_image_has_its_own_blur(fitted: Fit) -> None:
    smooth = model((*GEOMETRY, "log_psf_sigma_px"))
    made = columns(smooth, fitted, images()).reshape(2, 2, SIDE, SIDE).numpy()
    for k in range(2):
        for column, wanted in zip(made[k], expected(smooth, fitted, k), strict=True):
            np.testing.assert_allclose(column, wanted, rtol=1e-3, atol=1e-3 * wanted.max())


def test_given_psfs_are_used(fitted: Fit) -> None:
    """Gaussians given as pixels make the columns of the same Gaussians as numbers."""
    smooth = model(GEOMETRY)
    narrow = replace(fitted, values=fitted.values[:, :-1])
    offsets = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float32)
    taps = torch.exp(-0.5 * (offsets / torch.tensor(SIGMAS)[:, None]).square())
    psf = taps[:, :, None] * taps[:, None]
    made = columns(smooth, narrow, images(psf=psf)).reshape(2, 2, SIDE, SIDE).numpy()
    for k in range(2):
        wanted = expected(model((*GEOMETRY, "log_psf_sigma_px")), fitted, k)
        for column, right in zip(made[k], wanted, strict=True):
            np.testing.assert_allclose(column, right, rtol=0.02, atol=0.02 * right.max())
    first = columns(smooth, narrow.select(torch.tensor([1])), images(psf=psf[1:]))
    np.testing.assert_allclose(first[0].reshape(2, SIDE, SIDE), made[1], rtol=1e-5, atol=1e-4)


def test_images_with_noise_maps_are_linear(fitted: Fit) -> None:
    smooth = model((*GEOMETRY, "log_psf_sigma_px"))
    both = columns(smooth, fitted, images())
    noise = torch.ones(2, SIDE, SIDE)
    assert torch.equal(columns(smooth, fitted, images(noise=noise)), both[:, :1])
