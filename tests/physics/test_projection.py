"""Compiled coefficients of blurred light are those of torch."""

from dataclasses import replace

import pytest
import torch
from small_lenses import TRUE

from lumpylens.physics.compiled.projection import project_bent
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement, jpeg_steps
from lumpylens.physics.parameters import COUNT, GEOMETRY, NAMES
from lumpylens.physics.perturbation import Perturbers
from lumpylens.physics.psf import kernel_response
from lumpylens.physics.render import Scene

COUNT_OF_LENSES = 3


def model(kind, pixel=1):
    """Of a compressed image of which some coefficients are compared, or of a linear one."""
    size, margin = 48, 8
    side = (size + 2 * margin) // pixel
    scene = Scene(side, side, cusp_samples=2, pixel=float(pixel))
    measurement = Measurement(4, 4, size)
    if kind == "compressed":
        steps = jpeg_steps(torch.full((8, 8), 12), blocks=size // 8)
        active = torch.randperm(steps.numel(), generator=torch.Generator().manual_seed(1))[:300]
        measurement = replace(measurement, steps=steps, active=active.sort().values)
    return SmoothModel(scene, measurement, TRUE, GEOMETRY, NoiseLevel(1.0), psf_radius=6)


def lopsided_psfs():
    """Kernels that are neither symmetric nor separable, of which one is narrower."""
    at = torch.arange(-7.0, 8.0)
    y, x = torch.meshgrid(at, at, indexing="ij")
    kernels = [
        torch.exp(-((x - 0.4) ** 2 + (y + 0.2 * k) ** 2 + 0.5 * x * y) / (2 + k))
        for k in range(COUNT_OF_LENSES)
    ]
    kernels[0][:4] = 0
    return torch.stack(kernels)


def values():
    shifts = torch.randn(COUNT_OF_LENSES, COUNT, generator=torch.Generator().manual_seed(0))
    return TRUE + 0.05 * shifts


@pytest.mark.parametrize("kind", ["compressed", "linear"])
@pytest.mark.parametrize(("psf_given", "pixel"), [(False, 1), (False, 2), (True, 1)])
def test_both_engines_agree(kind, psf_given, pixel):
    smooth, full = model(kind, pixel), values()
    names = [name for name in NAMES if name != "log_psf_sigma_px"]
    amplitudes = torch.tensor([[30.0, 20.0, 1.0], [1.0, 2.0, 0.0], [0.1, 50.0, 2.0]])
    psf = lopsided_psfs() if psf_given else None
    compared = len(smooth.measurement.select(torch.zeros_like(smooth.constant(full)[0])))
    results = []
    for add in (smooth._compiled_tangents, smooth._reference_tangents):
        tangents = torch.ones(COUNT_OF_LENSES, len(names), compared)
        responses = smooth.responses(full, psf)
        results.append((tangents, *add(tangents, full, names, amplitudes, responses)))
    for compiled, reference in zip(*results, strict=True):
        torch.testing.assert_close(compiled, reference, rtol=1e-5, atol=2e-5)


def bent(smooth, response, side, count):
    """Coefficients of light that is moved by small deflections, from both engines."""
    generator = torch.Generator().manual_seed(3)
    gradient = torch.randn(COUNT_OF_LENSES, 2, side, side, generator=generator)
    places = Perturbers(*(side / 3 * torch.randn(2, count, 4, generator=generator)), softening=0.7)
    x, y = (line + 0.25 for line in Scene(side, side).grid(gradient))
    bend_x, bend_y = places.deflections(x, y)
    light = -(gradient[:, 0, None] * bend_x + gradient[:, 1, None] * bend_y)
    grid, at = (x[0].numpy(), y[0].numpy()), (places.x.numpy(), places.y.numpy())
    lines = smooth.measurement.lines
    compiled = project_bent(gradient.numpy(), grid, at, 0.7, response.bands, lines)
    return torch.from_numpy(compiled), smooth.measurement.select(response(light))


@pytest.mark.parametrize("kind", ["compressed", "linear"])
@pytest.mark.parametrize("psf_given", [False, True])
@pytest.mark.parametrize("count", [1, COUNT_OF_LENSES])
def test_bent_light(kind, psf_given, count):
    """By masses at the same places in all images, or at others in each."""
    smooth = model(kind)
    if psf_given:
        response = kernel_response(smooth.basis, lopsided_psfs())
    else:
        response, _ = smooth.responses(smooth.expand(values()[:, smooth.free_index]), None)
    torch.testing.assert_close(*bent(smooth, response, 64, count), rtol=1e-5, atol=1e-5)


def test_a_band_as_long_as_the_image():
    smooth = SmoothModel(Scene(6, 6), Measurement(0, 0, 6), TRUE, GEOMETRY, NoiseLevel(1.0))
    response, _ = smooth.responses(smooth.expand(values()[:, smooth.free_index]), None)
    torch.testing.assert_close(*bent(smooth, response, 6, 1), rtol=1e-5, atol=1e-5)


def test_an_image_has_the_same_bits_alone_and_in_a_batch():
    smooth, psf = model("linear"), lopsided_psfs()
    free = values()[:, smooth.free_index]
    amplitudes = torch.tensor([[30.0, 20.0, 1.0]]).repeat(COUNT_OF_LENSES, 1)
    together = smooth.linearise(free, amplitudes, psf)
    for k in range(COUNT_OF_LENSES):
        alone = smooth.linearise(free[k : k + 1], amplitudes[k : k + 1], psf[k : k + 1])
        assert torch.equal(alone.predicted[0], together.predicted[k])
        assert torch.equal(alone.tangents[0], together.tangents[k])
