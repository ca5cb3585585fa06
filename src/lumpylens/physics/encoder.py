"""A small convolutional network that estimates the parameters of a lens from its image.

It makes the fit global: least squares that start from its estimate end in the right minimum.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lumpylens.physics.parameters import INDEX, pack, rotate
from lumpylens.physics.psf import gaussian_response
from lumpylens.physics.render import Scene

__all__ = ["ESTIMATED", "BroadPrior", "Encoder", "Eyepiece", "NearPrior", "render_examples"]

ESTIMATED = (
    "log_einstein_radius_px",
    "shear_1",
    "shear_2",
    "source_x",
    "source_y",
    "source_eta_1",
    "source_eta_2",
    "lens_light_eta_1",
    "lens_light_eta_2",
    "log_source_radius_px",
    "log_source_index",
    "log_lens_light_radius_px",
    "log_lens_light_index",
)
"""Parameters that the network estimates; the others are taken as given."""

LENGTHS = ("log_einstein_radius_px", "log_source_radius_px", "log_lens_light_radius_px")
"""Those that are logarithms of lengths in pixels; positions are in units of the Einstein radius."""

TARGET_SCALE = (0.35, 0.13, 0.13, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.5, 0.4, 0.5, 0.4)
"""Scale of each estimated parameter under `BroadPrior`, by which the targets of the regression are
scaled to order one."""

COVARIANCE_FACTOR = 1.3
BESIDE = {INDEX["log_einstein_radius_px"]: 0.12}
BESIDE_OTHER = 0.02
"""Width of `NearPrior`: factor of the covariance, and standard deviations added in quadrature, for
the Einstein radius and for other parameters. An eighth of the Einstein radius is a quarter of the
mass. A wider prior covers unusual lenses, a narrower one makes estimates of usual lenses more
precise. Not tuned."""


@dataclass(frozen=True)
class Eyepiece:
    """Preparation of an image for the network: fewer, larger pixels, scaled to [0, 1].

    Attributes
    ----------
    height, width : int
        Pixels of the image.
    rows, columns : int
        Samples that the network sees: averages over squares of pixels.
    binning : int or float
        Side of such a square in pixels; whole pixels are averaged without weights.
    top, left : float
        Where the first square begins, in pixels.
    """

    height: int
    width: int
    rows: int
    columns: int
    binning: int | float
    top: float = 0.0
    left: float = 0.0

    @classmethod
    def for_shape(cls, shape: tuple[int, int]) -> Eyepiece:
        """Whole pixels, so many that the shorter side has at most 64 samples, for speed.

        A side that is no multiple of the binning loses its last pixels.
        """
        binning = max(1, math.ceil(min(shape) / 64))
        return cls(*shape, shape[0] // binning, shape[1] // binning, binning)

    @classmethod
    def for_samples(cls, shape: tuple[int, int], samples: tuple[int, int]) -> Eyepiece:
        """As many samples as a network was trained for, over the middle of the image."""
        whole = cls.for_shape(shape)
        if (whole.rows, whole.columns) == samples:
            return whole
        binning = min(side / count for side, count in zip(shape, samples, strict=True))
        top, left = (
            (side - count * binning) / 2 for side, count in zip(shape, samples, strict=True)
        )
        return cls(*shape, *samples, binning, top, left)

    @property
    def samples(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def scene(self) -> Scene:
        """The grid on which binned images are rendered."""
        return Scene(
            self.rows,
            self.columns,
            offset_x=self.left + (self.columns * self.binning - self.width) / 2,
            offset_y=self.top + (self.rows * self.binning - self.height) / 2,
            pixel=self.binning,
            cusp_radius=6,
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Average images (n, H, W) over squares and scale them to [0, 1], shape (n, h, w)."""
        if isinstance(self.binning, int):
            b = self.binning
            trimmed = pixels[:, : self.rows * b, : self.columns * b]
            squares = trimmed.reshape(-1, self.rows, b, self.columns, b)
            return to_unit(squares.mean(dim=(2, 4)))
        down = averages(self.height, self.rows, self.binning, self.top).to(pixels)
        across = averages(self.width, self.columns, self.binning, self.left).to(pixels)
        return to_unit(down @ pixels @ across.mT)


def averages(side: int, count: int, binning: float, first: float) -> Tensor:
    """Weights (count, side) of pixels in averages over intervals, by the length of overlap."""
    ends = first + binning * torch.arange(count + 1, dtype=torch.float64, device="cpu")
    pixel = torch.arange(side, dtype=torch.float64, device="cpu")
    overlap = torch.minimum(ends[1:, None], pixel + 1) - torch.maximum(ends[:-1, None], pixel)
    return overlap.clamp_min(0) / binning


def to_unit(images: Tensor) -> Tensor:
    """Bring each image (n, h, w) to the range [0, 1]."""
    low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    return (images - low) / (high - low).clamp_min(1e-12)


@dataclass(frozen=True)
class BroadPrior:
    """Distribution of all smooth lenses that a cutout may show: the encoder's first training set.

    Lengths follow the cutout's half-side. All position angles are equally likely.
    """

    half_side_px: float
    elliptical_mass: bool = False

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw parameter vectors, shape (count, COUNT)."""

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator)

        def spin2(size: Tensor) -> tuple[Tensor, Tensor]:
            angle = uniform(0, 2 * math.pi)
            return size * torch.cos(angle), size * torch.sin(angle)

        radius = torch.exp(uniform(math.log(0.12), math.log(0.52))) * self.half_side_px
        shear, source_eta = spin2(uniform(0, 0.35)), spin2(uniform(0, 0.7))
        light_eta, offset = spin2(uniform(0, 0.9)), spin2(uniform(0, 1.15))
        mass_eta = spin2(uniform(0, 0.5) if self.elliptical_mass else torch.zeros(count))
        return pack(
            log_einstein_radius_px=torch.log(radius),
            shear_1=shear[0],
            shear_2=shear[1],
            source_x=offset[0],
            source_y=offset[1],
            source_eta_1=source_eta[0],
            source_eta_2=source_eta[1],
            lens_light_eta_1=light_eta[0],
            lens_light_eta_2=light_eta[1],
            log_source_radius_px=torch.log(radius * torch.exp(uniform(-1.9, -0.4))),
            log_source_index=uniform(math.log(0.7), math.log(3.0)),
            log_lens_light_radius_px=torch.log(radius * torch.exp(uniform(-1.9, 0.2))),
            log_lens_light_index=uniform(math.log(1.0), math.log(5.0)),
            mass_eta_1=mass_eta[0],
            mass_eta_2=mass_eta[1],
            centre_x_px=uniform(-1, 1),
            centre_y_px=uniform(-1, 1),
            log_psf_sigma_px=uniform(math.log(0.7), math.log(3.0)),
        )


@dataclass(frozen=True)
class NearPrior:
    """Distribution of lenses like those of a population, but wider: the second training set.

    Attributes
    ----------
    mean : Tensor of float64, shape (k,)
    covariance : Tensor of float64, shape (k, k)
        Of the parameters that vary.
    free : sequence of int
        Positions of these in a full vector.
    shared : Tensor, shape (COUNT,)
        Values of the other parameters.
    """

    mean: Tensor
    covariance: Tensor
    free: Sequence[int]
    shared: Tensor

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw parameter vectors, shape (count, COUNT)."""
        # Wider than the population, so that the estimate of a lens just outside is not biased
        # towards the inside.
        widened = self.covariance * COVARIANCE_FACTOR + torch.diag(
            torch.tensor([BESIDE.get(k, BESIDE_OTHER) for k in self.free]).double().square()
        )
        full = self.shared.repeat(count, 1)
        at = [INDEX[name] for name in ESTIMATED if INDEX[name] not in self.free]
        full[:, at] += 0.03 * torch.randn(count, len(at), generator=generator)
        normal = torch.randn(count, len(self.free), generator=generator).double()
        values = self.mean + normal @ torch.linalg.cholesky(widened).mT
        full[:, list(self.free)] = values.to(full)
        return full


def render_examples(
    parameters: Tensor, eyepiece: Eyepiece, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Render noisy, binned images of lenses, and the parameters to be estimated from them.

    The ratio of the two galaxies' brightness and the noise are drawn from broad ranges; noise
    is white or, in half of the images, correlated between neighbours as after compression.

    Parameters
    ----------
    parameters : Tensor, shape (n, COUNT)
    eyepiece : Eyepiece
    generator : torch.Generator

    Returns
    -------
    images : Tensor, shape (n, h, w)
        Each scaled to [0, 1].
    targets : Tensor, shape (n, len(ESTIMATED))
    """
    count, scene = len(parameters), eyepiece.scene

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, generator=generator))[:, None, None]

    light = scene.light(parameters)
    sigma = torch.exp(parameters[:, INDEX["log_psf_sigma_px"]]) / eyepiece.binning
    square = max(scene.height, scene.width)
    lens = light.lens / light.lens.amax(dim=(1, 2), keepdim=True)
    source = light.source / light.source.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    ratio = torch.exp(uniform(math.log(0.1), math.log(3.0)))
    # One image in ten has no lens light.
    visible = (uniform(0, 1) > 0.1).float()
    total = nn.functional.pad(
        lens * visible + ratio * source, (0, square - scene.width, 0, square - scene.height)
    )
    blurred = gaussian_response(torch.eye(square), sigma, 8)(total[:, None])[:, 0]
    image = blurred[:, : scene.height, : scene.width]
    image = image / image.amax(dim=(1, 2), keepdim=True)
    noise = torch.randn(image.shape, generator=generator)
    smooth = nn.functional.avg_pool2d(noise[:, None], 3, 1, 1)[:, 0] * 2
    mixed = torch.where(uniform(0, 1) < 0.5, noise, smooth)
    image = image + mixed * torch.exp(uniform(math.log(0.001), math.log(0.04)))
    targets = parameters[:, [INDEX[name] for name in ESTIMATED]]
    return to_unit(image), targets


class Encoder(nn.Module):
    """Network from images to estimates of parameters and their uncertainties.

    Parameters
    ----------
    input_shape : (int, int)
        Of the binned images, see `Eyepiece`.
    width : int
        Channels of the first layer.
    """

    spread: Tensor
    middle: Tensor

    def __init__(self, input_shape: tuple[int, int], width: int = 24) -> None:
        super().__init__()
        self.input_shape = input_shape
        layers: list[nn.Module] = []
        channels, size = 2, list(input_shape)
        for step, kernel in enumerate((5, 3, 3, 3)):
            out = width * min(2**step, 4)
            convolution = nn.Conv2d(channels, out, kernel, 2, kernel // 2)
            layers += [convolution, nn.BatchNorm2d(out), nn.GELU()]
            channels, size = out, [(side + 1) // 2 for side in size]
        layers += [nn.Flatten(), nn.Linear(channels * size[0] * size[1], 192), nn.GELU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(192, 2 * len(ESTIMATED))
        self.register_buffer("spread", torch.tensor(TARGET_SCALE))
        self.register_buffer("middle", torch.zeros(len(ESTIMATED)))

    @classmethod
    def with_weights(cls, input_shape: tuple[int, int], weights: Mapping[str, Tensor]) -> Encoder:
        """Make a trained network from its weights; no random number is drawn for it."""
        with torch.device("meta"):
            encoder = cls(input_shape)
        # Copied, since weights that are read from files lie anywhere in memory, and on some
        # processors the last digits of products depend on where.
        copies = {name: part.clone() for name, part in weights.items()}
        encoder.load_state_dict(copies, assign=True)
        return encoder.eval()

    def for_pixels(self, factor: float) -> Encoder:
        """Encoder that gives lengths in other pixels: ``factor`` of them are one of before.

        What it sees has no scale, so it can read any image that has as many samples.
        """
        other = copy.deepcopy(self)
        other.middle[[ESTIMATED.index(name) for name in LENGTHS]] += math.log(factor)
        return other

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each estimated parameter, shape (n, 13)."""
        # The square root makes faint arcs visible beside a bright lens galaxy.
        stretches = torch.stack([inputs, inputs.sqrt()], dim=1)
        mean, log_sigma = self.head(self.body(stretches)).chunk(2, dim=1)
        sigma = torch.exp(log_sigma.clamp(-6, 3))
        return self.middle + mean * self.spread, sigma * self.spread

    def loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean negative log likelihood per parameter of Gaussian estimates."""
        mean, sigma = self(inputs)
        deviation = (targets - mean) / sigma
        loss: Tensor = (0.5 * deviation.square() + torch.log(sigma / self.spread)).mean()
        return loss


def turn_examples(inputs: Tensor, targets: Tensor, quarter: int) -> tuple[Tensor, Tensor]:
    """Rotate square inputs and their targets by quarter turns, which the broad prior allows."""
    full = torch.zeros(len(targets), len(INDEX), dtype=targets.dtype, device=targets.device)
    at = [INDEX[name] for name in ESTIMATED]
    full[:, at] = targets
    angle = torch.full((len(targets),), quarter * math.pi / 2, dtype=targets.dtype)
    return torch.rot90(inputs, -quarter, (1, 2)), rotate(full, angle.to(targets))[:, at]
