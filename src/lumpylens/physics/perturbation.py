"""Test for small deflections beyond a smooth model, and a map of their positions.

To first order a perturber at x with squared Einstein radius m changes the image by m D_x with
D_x = -PSF * (grad S . alpha_x) (Koopmans 2005, equation 9), where alpha_x is the deflection of a
unit point mass. Everything that the smooth model could absorb is projected out of data and D_x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from lumpylens.physics.batches import is_compiled, per_lens
from lumpylens.physics.compiled.projection import Lines, project_bent
from lumpylens.physics.deflection import softened_point
from lumpylens.physics.fit_data import Data, Fit, Prior, Solution
from lumpylens.physics.inference import along
from lumpylens.physics.model import SmoothModel
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.psf import Response, gaussian_response, kernel_response
from lumpylens.physics.records import moved, select
from lumpylens.physics.spectrum import Spectrum

__all__ = [
    "Field",
    "Filter",
    "FittedLight",
    "Perturbers",
    "Signals",
    "misfit_columns",
]

LOG_EINSTEIN_RADIUS, LOG_BLUR = INDEX["log_einstein_radius_px"], INDEX["log_psf_sigma_px"]

IMAGES_PER_CHUNK = 4
"""Images whose responses are computed at once, so that their arrays stay in the cache."""

LEAST_VISIBLE = 0.02
"""A position is masked where less than this fraction of a perturber's signal is left when the
smooth model is projected out: the linear estimate would divide noise by almost zero.
Not tuned."""

STEP = 0.03
"""Change of a shared number over which its derivative is taken, in its logarithm or in pixels."""

FAINT_GREY = 4.0
"""Brightness in grey levels below which rounding errors of neighbouring pixels are alike."""


@dataclass(frozen=True)
class Perturbers:
    """Positions at which a perturber is searched for.

    Attributes
    ----------
    x, y : Tensor, shape (n or 1, m)
        Relative to the image's centre, pixels: of each image, or of all.
    softening : float
        Of the point mass, pixels.
    """

    x: Tensor
    y: Tensor
    softening: float = 0.5

    @classmethod
    def disc(cls, radius: float, spacing: float) -> Perturbers:
        """Make a square grid of positions inside a circle about the centre, for all images."""
        half = math.ceil(radius / spacing)
        line = (torch.arange(2 * half, device="cpu") - half + 0.5) * spacing
        x, y = (grid.flatten() for grid in torch.meshgrid(line, line, indexing="xy"))
        inside = x.square() + y.square() <= radius**2
        return cls(x[inside][None], y[inside][None])

    @classmethod
    def like_halo(cls, radius: Tensor, centre: tuple[Tensor, Tensor], count: int) -> Perturbers:
        """Spread positions like the mass of an isothermal halo, which is uniform in distance.

        They lie on a spiral with the golden angle between neighbours, so that every part of the
        disc has its share.

        Parameters
        ----------
        radius : Tensor, shape (n,)
            Of each image, pixels.
        centre : pair of Tensor, shape (n,)
            Coordinates x and y, pixels.
        count : int
        """
        order = torch.arange(count, dtype=torch.float64, device="cpu")
        angle = order * math.pi * (3 - math.sqrt(5))
        distance = (order + 0.5) / count
        unit = torch.stack([distance * angle.cos(), distance * angle.sin()]).to(radius)
        x, y = (c[:, None] + radius[:, None] * u for c, u in zip(centre, unit, strict=True))
        return cls(x, y)

    def deflections(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Deflection (n or 1, m, h, w) at positions (1, h, w), for a unit Einstein radius."""
        return softened_point(
            x - self.x[..., None, None], y - self.y[..., None, None], self.softening
        )


@dataclass(frozen=True)
class Field:
    """Estimates of small deflections at many positions, from the data.

    Attributes
    ----------
    projected : Tensor, shape (n, m)
        D' P r for each position: the data weighted by the part of D that the smooth model does
        not absorb.
    covariance : Tensor, shape (n, m, m)
        D' P D, its covariance under noise.
    visible : Tensor of bool, shape (n, m)
        Positions at which enough of D is left.
    halo : Tensor, shape (n,)
        Squared Einstein radius of the smooth lens, px^2.
    """

    projected: Tensor
    covariance: Tensor
    visible: Tensor
    halo: Tensor

    @cached_property
    def variance(self) -> Tensor:
        """D' P D of single positions, shape (n, m)."""
        return torch.diagonal(self.covariance, dim1=1, dim2=2)

    def snr(self) -> Tensor:
        """Signal-to-noise ratio of a perturber at each position, shape (n, m); positive = mass."""
        ratio = self.projected * self.variance.clamp_min(1e-20).rsqrt()
        return ratio.masked_fill(~self.visible, 0)

    def sensitivity(self) -> Tensor:
        """Squared Einstein radius, px^2, that is detectable at 5 sigma; infinite where masked."""
        least = 5 * self.variance.clamp_min(1e-20).rsqrt()
        return least.masked_fill(~self.visible, math.inf)

    def mass(self) -> Tensor:
        """Linear estimate of the squared Einstein radius at each position, px^2."""
        estimate = self.projected / self.variance.clamp_min(1e-20)
        return estimate.masked_fill(~self.visible, 0)

    def spectrum(self) -> Spectrum:
        """Transform the field to independent directions."""
        # Single precision, like the covariance: twice as fast, and no direction counts whose
        # eigenvalue is lost in the rounding of the largest.
        values, vectors = torch.linalg.eigh(self.covariance)
        along = torch.matmul(vectors.mT, self.projected[..., None])[..., 0]
        return Spectrum(values.double().clamp_min(1e-9), along.double(), self.halo.double())


@dataclass(frozen=True)
class FittedLight:
    """Light of fitted lenses on the sky, before the blur.

    Attributes
    ----------
    lens, source : Tensor, shape (n, h, w)
    gradient : Tensor, shape (n, 2, h, w)
        Of the source's brightness along x and y, where each ray ends.
    """

    lens: Tensor
    source: Tensor
    gradient: Tensor

    @classmethod
    def of(cls, model: SmoothModel, fitted: Fit) -> FittedLight:
        """Render the light of fits of `model`."""
        light = model.scene.tangents(model.expand(fitted.values), ())
        lens, source = (fitted.amplitudes[:, k, None, None] for k in range(2))
        return cls(
            lens * light.lens[:, 0],
            source * light.source[:, 0],
            source[:, None] * light.source_gradient,
        )


def misfit_columns(model: SmoothModel, fitted: Fit, light: FittedLight, data: Data) -> Tensor:
    """Directions, shape (n, j, a), in which a simple instrument model is wrong.

    They are projected out like the parameters, so that they are not mistaken for a perturber: the
    blur's wings (the lens light under a blur twice as wide); without noise maps, a departure
    from linear brightness (the square root of the image); and for 8-bit images the staircase
    of rounding where the image is faint (sine and cosine of 2 pi times the brightness).

    Parameters
    ----------
    model : SmoothModel
    fitted : Fit
        n images.
    light : FittedLight
        Of `fitted`.
    data : Data
        The images. Noise maps tell that they are linear.
    """
    full, psf = model.expand(fitted.values), data.psf
    side = model.scene.height
    eye, everywhere = torch.eye(side, dtype=full.dtype, device=full.device), Lines.of(side, None)
    if psf is None:
        sigma, radius = model.blur_sigma(full), model.psf_radius
        blur = gaussian_response(eye, sigma, radius)
        wider = gaussian_response(eye, 2 * sigma, 2 * radius)
    else:
        blur = kernel_response(eye, psf.to(full))
        wider = kernel_response(eye, twice_as_wide(psf.to(full)))
    total = (light.lens + light.source)[:, None]
    grey = blur.at(total, everywhere) + fitted.amplitudes[:, 2:, None]
    columns = [wider.at(light.lens[:, None], everywhere)]
    if data.noise is None:
        columns.append(grey.clamp_min(0).sqrt())
    if model.measurement.steps is not None:
        faint = torch.exp(-grey.clamp_min(0) / FAINT_GREY)
        columns += [torch.sin(2 * math.pi * grey) * faint, torch.cos(2 * math.pi * grey) * faint]
    basis = model.basis.to(full)[None, None]
    images = torch.cat(columns, dim=1).unflatten(-1, (side, side))
    return Response(basis, basis).at(images, model.measurement.lines)


def twice_as_wide(psf: Tensor) -> Tensor:
    """Stretch point-spread functions (n, p, p) to shape (n, 2 p - 1, 2 p - 1)."""
    side = [2 * length - 1 for length in psf.shape[1:]]
    return interpolate(psf[:, None], size=side, mode="bicubic", align_corners=True)[:, 0]


@dataclass(frozen=True)
class Signals:
    """Changes of images by perturbers, and the part of them that the smooth model can imitate.

    Attributes
    ----------
    responses : Tensor, shape (n, m, a)
        D of every position.
    data : Tensor of float64, shape (n, m)
        D' W r of every position, before the smooth model is projected out.
    gram : Tensor of float64, shape (n, m, m)
        D' W D between all positions, before the smooth model is projected out.
    cross : Tensor of float64, shape (n, t, m)
        T W D', with T the tangents of the smooth model and the misfit columns.
    absorbed : Tensor of float64, shape (n, t, m)
        (T W T')^-1 T W D': the tangents' coefficients in the best imitation. Shapelets of the
        source have their prior there.
    """

    responses: Tensor
    data: Tensor
    gram: Tensor
    cross: Tensor
    absorbed: Tensor

    @property
    def power(self) -> Tensor:
        """D' W D of every position with itself, float64, shape (n, m)."""
        return torch.diagonal(self.gram, dim1=1, dim2=2)


class Filter:
    """Filter that searches for perturbers in fitted images.

    Parameters
    ----------
    model : SmoothModel
    data : Data
        n images.
    solved : Solution
        Fits of `model`. A prior that pulled them is no bias: the pull is part of the gradient.
    binning : int
        Pixels over which deflections are averaged along each axis; finer detail is blurred away.
    """

    def __init__(
        self, model: SmoothModel, data: Data, solved: Solution, *, binning: int = 2
    ) -> None:
        self.model, self.data, self.solved, self.binning = model, data, solved, binning
        self.light = FittedLight.of(model, solved.fitted)
        misfits = misfit_columns(model, solved.fitted, self.light, data)
        self.tangents = torch.cat([solved.line.tangents, misfits], dim=1)
        self.weight, self.score = solved.evidence.information[:, None], solved.evidence.score
        self.weighted = self.tangents * self.weight
        self.tangent_information = torch.matmul(self.weighted, self.tangents.mT).double()
        self.gradient = along(self.tangents, self.score).double()[..., None]
        self.absorbing, self.pull = self.tangent_information, self.gradient
        if model.detail is not None:
            self.absorbing, self.pull = self._with(moved(of_detail(model), self.score.device))

    @property
    def information(self) -> Tensor:
        """Information of the data about the free parameters, amplitudes eliminated, (n, k, k)."""
        count = self.model.count
        lights = self.tangent_information[:, count : count + 3]
        own, cross = lights[:, :, count : count + 3], lights[:, :, :count]
        eliminated: Tensor = cross.mT @ torch.linalg.solve(own, cross)
        return self.tangent_information[:, :count, :count] - eliminated

    def blur_departure(self) -> Tensor:
        """Estimate by how much the logarithm of each image's blur is above the model's, (n,).

        One step of a fit in which it is free, with the numbers of the lens.
        """
        fitted, shared = self.solved.fitted, self.model.shared.clone()
        shared[LOG_BLUR] += STEP
        wider = self.model.with_shared(shared)
        responses = wider.responses(wider.expand(fitted.values), None)
        lines = self.model.measurement.lines
        lens, source = (
            response.at(light[:, None], lines)
            for response, light in zip(responses, (self.light.lens, self.light.source), strict=True)
        )
        flat = self.model.measurement.select(self.model.constant(fitted.values))
        changed = lens + source + fitted.amplitudes[:, 2:, None] * flat
        tangent = (changed - self.solved.line.predicted[:, None]) / STEP
        count = self.model.count + fitted.amplitudes.shape[1]
        smooth = self.absorbing[:, :count, :count]
        cross = torch.matmul(self.weighted[:, :count], tangent.mT).double()
        absorbed = self._absorb(cross, smooth)
        power = torch.matmul(tangent * self.weight, tangent.mT).double() - cross.mT @ absorbed
        own = along(tangent, self.score).double()[..., None]
        slope: Tensor = own - absorbed.mT @ self.pull[:, :count]
        return (slope / power.clamp_min(1e-20))[:, 0, 0]

    def _absorb(self, right: Tensor, information: Tensor) -> Tensor:
        """(T W T')^-1 times columns (n, t, c)."""
        # Scaled to a unit diagonal, with a small ridge: columns differ by orders of magnitude, and
        # two of them may coincide in an image.
        scale = torch.diagonal(information, dim1=1, dim2=2).clamp_min(1e-20).rsqrt()
        ridge = 1e-6 * torch.eye(len(scale.mT), dtype=scale.dtype, device=scale.device)
        scaled = information * scale[:, :, None] * scale[:, None] + ridge
        solved: Tensor = torch.linalg.solve(scaled, right * scale[..., None])
        return solved * scale[..., None]

    def _under(self, prior: Prior | None) -> tuple[Tensor, Tensor]:
        """Information (n, t, t) and gradient (n, t, 1) of the tangents' coefficients."""
        if prior is None:
            return self.absorbing, self.pull
        return self._with(prior)

    def _with(self, prior: Prior) -> tuple[Tensor, Tensor]:
        """Add a prior of the fitted numbers to information and gradient."""
        information, gradient = self.tangent_information.clone(), self.gradient.clone()
        count, precision = self.model.count, prior.precision.double()
        departure = (self.solved.fitted.values - prior.mean).double()
        information[:, :count, :count] += precision
        gradient[:, :count] -= (precision * departure[:, None]).sum(dim=2, keepdim=True)
        return information, gradient

    def signals(self, perturbers: Perturbers) -> Signals:
        """Compute the change of each image by each perturber."""
        responses = perturber_responses(
            self.model, self.solved.fitted, self.light, self.data, perturbers, self.binning
        )
        data = along(responses, self.score).double()
        gram = torch.matmul(responses * self.weight, responses.mT).double()
        cross = torch.matmul(self.weighted, responses.mT).double()
        absorbed = self._absorb(cross, self.absorbing)
        return Signals(responses, data, gram, cross, absorbed)

    def projected(self, signals: Signals) -> Tensor:
        """D' P r of every position, float64, shape (n, m)."""
        projected: Tensor = signals.data - (signals.absorbed.mT @ self.pull)[..., 0]
        return projected

    def covariance(self, first: Signals, second: Signals) -> Tensor:
        """D' P D between the positions of two sets, float64, shape (n, m, k)."""
        unprojected = torch.matmul(first.responses * self.weight, second.responses.mT).double()
        return unprojected - first.cross.mT @ second.absorbed

    def variance(self, signals: Signals) -> Tensor:
        """D' P D of every position with itself, float64, shape (n, m)."""
        absorbed: Tensor = (signals.cross * signals.absorbed).sum(dim=1)
        return signals.power - absorbed

    def visible(self, signals: Signals) -> Tensor:
        """Positions at which enough of D is left, bool, shape (n, m)."""
        return self.variance(signals) > LEAST_VISIBLE * signals.power

    def field(self, signals: Signals, prior: Prior | None = None) -> Field:
        """Estimate perturbers at many positions from the data.

        Parameters
        ----------
        signals : Signals
        prior : Prior, optional
            Of smooth lenses. What their numbers are not likely to imitate is not projected out.
            Default: they may have any values.
        """
        tangents, gradient = self._under(prior)
        absorbed = signals.absorbed if prior is None else self._absorb(signals.cross, tangents)
        radius = self.model.expand(self.solved.fitted.values)[:, LOG_EINSTEIN_RADIUS]
        return Field(
            projected=(signals.data - (absorbed.mT @ gradient)[..., 0]).to(self.score),
            covariance=(signals.gram - signals.cross.mT @ absorbed).to(self.score),
            visible=self.visible(signals),
            halo=per_lens(torch.exp, 2 * radius),
        )


def of_detail(model: SmoothModel) -> Prior:
    """Make the prior of the source's shapelets alone: the other numbers may have any values."""
    assert model.detail is not None
    like = model.shared
    precision = like.new_zeros(model.count)
    precision[len(model.free) :] = model.detail.variance.reciprocal().to(like)
    return Prior(like.new_zeros(model.count), torch.diag(precision))


def perturber_responses(
    model: SmoothModel,
    fitted: Fit,
    light: FittedLight,
    data: Data,
    perturbers: Perturbers,
    binning: int,
) -> Tensor:
    """D_x of every position, shape (n, m, a)."""
    height, width = model.scene.height // binning, model.scene.width // binning
    x, y = (avg_pool2d(line, binning) for line in model.scene.grid(fitted.values))
    gradient = avg_pool2d(light.gradient, binning)
    _, response = model.responses(model.expand(fitted.values), data.psf)
    coarse = Response(
        response.rows.unflatten(-1, (height, binning)).sum(dim=-1),
        response.columns.unflatten(-1, (width, binning)).sum(dim=-1),
    )
    if is_compiled(gradient):
        grid, places = (x[0].numpy(), y[0].numpy()), (perturbers.x.numpy(), perturbers.y.numpy())
        lines = model.measurement.lines
        return torch.from_numpy(
            project_bent(gradient.numpy(), grid, places, perturbers.softening, coarse.bands, lines)
        )
    responses = []
    for part in torch.arange(len(gradient), device=gradient.device).split(IMAGES_PER_CHUNK):
        near = perturbers if len(perturbers.x) == 1 else select(perturbers, part)
        bend_x, bend_y = near.deflections(x, y)
        gx, gy = gradient[part, :, None].unbind(dim=1)
        moved_light = (gx * -bend_x).addcmul_(gy, -bend_y)
        responses.append(model.measurement.select(coarse.select(part)(moved_light)))
    return torch.cat(responses)
