"""Test for small deflections beyond a smooth model, and a map of their positions.

To first order a perturber at x with squared Einstein radius m changes the image by m D_x with
D_x = -PSF * (grad S . alpha_x) (Koopmans 2005, equation 9), where alpha_x is the deflection of a
unit point mass. Everything that the smooth model could absorb is projected out of data and D_x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lumpylens.physics.batches import is_compiled, per_lens
from lumpylens.physics.compiled.projection import project_bent
from lumpylens.physics.deflection import softened_point
from lumpylens.physics.fit_data import Data, Fit, Solution
from lumpylens.physics.inference import along
from lumpylens.physics.model import SmoothModel
from lumpylens.physics.parameters import INDEX
from lumpylens.physics.psf import Response, gaussian_response, kernel_response

__all__ = [
    "Field",
    "Filter",
    "Perturbers",
    "Signals",
    "Spectrum",
    "learn_error",
    "misfit_columns",
]

LOG_EINSTEIN_RADIUS = INDEX["log_einstein_radius_px"]

IMAGES_PER_CHUNK = 4
"""Images whose responses are computed at once, so that their arrays stay in the cache."""

LEAST_VISIBLE = 0.02
"""A position is masked where less than this fraction of a perturber's signal is left when the
smooth model is projected out: the linear estimate would divide noise by almost zero.
Not tuned."""

SCALE = 1e-3
"""Squared Einstein radius of the perturbers that the weights are optimal for, in units of the
halo's: a thousandth of the lens's mass. It is a convention and was not tuned."""

FAINT_GREY = 4.0
"""Brightness in grey levels below which rounding errors of neighbouring pixels are alike."""


@dataclass(frozen=True)
class Perturbers:
    """Positions at which a perturber is searched for.

    Attributes
    ----------
    x, y : Tensor, shape (m,)
        Relative to the image's centre, pixels.
    softening : float
        Of the point mass, pixels.
    """

    x: Tensor
    y: Tensor
    softening: float = 0.5

    @classmethod
    def disc(cls, radius: float, spacing: float) -> Perturbers:
        """Make a square grid of positions inside a circle about the centre."""
        half = math.ceil(radius / spacing)
        line = (torch.arange(2 * half, device="cpu") - half + 0.5) * spacing
        x, y = (grid.flatten() for grid in torch.meshgrid(line, line, indexing="xy"))
        inside = x.square() + y.square() <= radius**2
        return cls(x[inside], y[inside])

    def deflections(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Deflection (m, h, w) of each at positions (1, h, w), for a unit Einstein radius."""
        return softened_point(x - self.x[:, None, None], y - self.y[:, None, None], self.softening)


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
    mass_scale : Tensor, shape (n,)
        Squared Einstein radius that the weights are optimal for, px^2.
    misfit : Tensor, shape (n,)
        Deviance that a last linear step of the smooth model, with its misfit columns, removes.
    information : Tensor, shape (n, k, k)
        Fisher information of the free parameters, amplitudes eliminated.
    """

    projected: Tensor
    covariance: Tensor
    visible: Tensor
    mass_scale: Tensor
    misfit: Tensor
    information: Tensor

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
        values, vectors = torch.linalg.eigh(self.covariance.double())
        along = torch.matmul(vectors.mT, self.projected.double()[..., None])[..., 0]
        return Spectrum(values.clamp_min(1e-9), along, self.mass_scale.double())


@dataclass(frozen=True)
class Spectrum:
    """The perturbation field in directions that are independent under noise.

    Attributes
    ----------
    information : Tensor of float64, shape (n, m)
        Eigenvalues of D' P D.
    along : Tensor of float64, shape (n, m)
        The data's component along each eigenvector; its variance under noise is `information`.
    mass_scale : Tensor of float64, shape (n,)
    """

    information: Tensor
    along: Tensor
    mass_scale: Tensor

    def score(self, error: float) -> Tensor:
        """Excess of the deflections over those of normal images, in standard deviations; (n,).

        The weighted mean of snr_k^2 - 1 over directions k, divided by its standard deviation.
        The weight is the fraction that a deflection field of scale s contributes to the variance of
        direction k: s^2 l_k / (1 + (e^2 + s^2) l_k), with l_k the information and e the error of
        the instrument model, which matters for bright rings but not for faint arcs. For small s
        and e = 0 this is the locally most powerful test of a random field of perturbers.

        Parameters
        ----------
        error : float
            From `learn_error`, px^2.
        """
        noise = 1 + error**2 * self.information
        share = self.mass_scale.square()[:, None] * self.information
        weight = share / (noise + share)
        excess = weight * (self.along.square() / (self.information * noise) - 1)
        return excess.sum(dim=1) / (2 * weight.square()).sum(dim=1).sqrt()


def learn_error(spectra: Sequence[Spectrum]) -> float:
    """Learn the scale of the deflections, px^2, that errors of the model imitate in normal images.

    Maximum likelihood on a grid, with components along ~ N(0, l (1 + e^2 l)).
    """
    grid = torch.logspace(-4, 1, 61, dtype=torch.float64)

    def energy(error: Tensor) -> float:
        total = 0.0
        for spectrum in spectra:
            noise = 1 + error.square() * spectrum.information
            surprise = spectrum.along.square() / (spectrum.information * noise) + torch.log(noise)
            total += float(surprise.sum())
        return total

    return float(min(grid, key=energy))


def misfit_columns(model: SmoothModel, fitted: Fit, psf: Tensor | None) -> Tensor:
    """Directions, shape (n, j, a), in which a simple instrument model is wrong.

    They are projected out like the parameters, so that they are not mistaken for a perturber: the
    blur's wings (the lens light under a blur twice as wide), a departure
    from linear brightness (the square root of the image), and for 8-bit images the staircase
    of rounding where the image is faint (sine and cosine of 2 pi times the brightness).

    Parameters
    ----------
    model : SmoothModel
    fitted : Fit
        n images.
    psf : Tensor, shape (n, p, p), or None
        Given point-spread functions, instead of the Gaussian.
    """
    full = model.expand(fitted.values)
    light = model.scene.light(full)
    amplitudes = fitted.amplitudes[:, :, None, None]
    lens, source = amplitudes[:, 0] * light.lens, amplitudes[:, 1] * light.source
    eye = torch.eye(model.scene.height, dtype=full.dtype, device=full.device)
    if psf is None:
        sigma, radius = model.blur_sigma(full), model.psf_radius
        blur = gaussian_response(eye, sigma, radius)
        wider = gaussian_response(eye, 2 * sigma, 2 * radius)
    else:
        blur = kernel_response(eye, psf.to(full))
        wider = kernel_response(eye, twice_as_wide(psf.to(full)))
    grey = blur((lens + source)[:, None]) + amplitudes[:, 2:]
    columns = [wider(lens[:, None]), grey.clamp_min(0).sqrt()]
    if model.measurement.steps is not None:
        faint = torch.exp(-grey.clamp_min(0) / FAINT_GREY)
        columns += [torch.sin(2 * math.pi * grey) * faint, torch.cos(2 * math.pi * grey) * faint]
    basis = model.basis.to(full)
    response = Response(basis[None, None], basis[None, None])
    return model.measurement.select(response(torch.cat(columns, dim=1)))


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
    power : Tensor of float64, shape (n, m)
        D' W D of every position, before the smooth model is projected out.
    cross : Tensor of float64, shape (n, t, m)
        T W D', with T the tangents of the smooth model and the misfit columns.
    absorbed : Tensor of float64, shape (n, t, m)
        (T W T')^-1 T W D': the tangents' coefficients in the best imitation.
    """

    responses: Tensor
    power: Tensor
    cross: Tensor
    absorbed: Tensor


class Filter:
    """Filter that searches for perturbers in fitted images.

    Parameters
    ----------
    model : SmoothModel
    data : Data
        n images.
    solved : Solution
        Fits of `model` under a weak prior: a strong one would bias the residual.
    binning : int
        Pixels over which deflections are averaged along each axis; finer detail is blurred away.
    """

    def __init__(
        self, model: SmoothModel, data: Data, solved: Solution, *, binning: int = 2
    ) -> None:
        self.model, self.data, self.solved, self.binning = model, data, solved, binning
        misfits = misfit_columns(model, solved.fitted, data.psf)
        self.tangents = torch.cat([solved.line.tangents, misfits], dim=1)
        self.weight, self.score = solved.evidence.information[:, None], solved.evidence.score
        self.weighted = self.tangents * self.weight
        self.tangent_information = torch.matmul(self.weighted, self.tangents.mT).double()
        self.gradient = along(self.tangents, self.score).double()[..., None]
        # Scaled to a unit diagonal, with a small ridge: columns differ by orders of magnitude, and
        # two of them may coincide in an image.
        self.scale = (
            torch.diagonal(self.tangent_information, dim1=1, dim2=2).clamp_min(1e-20).rsqrt()
        )
        eye = torch.eye(
            self.tangent_information.shape[1],
            dtype=self.tangent_information.dtype,
            device=self.tangent_information.device,
        )
        self.scaled_information = (
            self.tangent_information * self.scale[:, :, None] * self.scale[:, None] + 1e-6 * eye
        )

    def _absorb(self, right: Tensor) -> Tensor:
        """(T W T')^-1 times columns (n, t, c)."""
        solved: Tensor = torch.linalg.solve(self.scaled_information, right * self.scale[..., None])
        return solved * self.scale[..., None]

    def signals(self, perturbers: Perturbers) -> Signals:
        """Compute the change of each image by each perturber."""
        responses = perturber_responses(
            self.model, self.solved.fitted, self.data, perturbers, self.binning
        )
        power = (responses.square() * self.weight).sum(dim=2).double()
        cross = torch.matmul(self.weighted, responses.mT).double()
        return Signals(responses, power, cross, self._absorb(cross))

    def projected(self, signals: Signals) -> Tensor:
        """D' P r of every position, float64, shape (n, m)."""
        along_responses = along(signals.responses, self.score).double()
        return along_responses - (signals.absorbed.mT @ self.gradient)[..., 0]

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

    def field(self, signals: Signals) -> Field:
        """Estimate perturbers at many positions from the data."""
        like, count = self.score, len(self.model.free)
        lights = self.tangent_information[:, count : count + 3]
        information = self.tangent_information[:, :count, :count] - lights[
            :, :, :count
        ].mT @ torch.linalg.solve(lights[:, :, count : count + 3], lights[:, :, :count])
        radius = self.model.expand(self.solved.fitted.values)[:, LOG_EINSTEIN_RADIUS]
        return Field(
            projected=self.projected(signals).to(like),
            covariance=self.covariance(signals, signals).to(like),
            visible=self.visible(signals),
            mass_scale=SCALE * per_lens(torch.exp, 2 * radius),
            misfit=(self.gradient * self._absorb(self.gradient)).sum(dim=(1, 2)).to(like),
            information=information,
        )


def perturber_responses(
    model: SmoothModel,
    fitted: Fit,
    data: Data,
    perturbers: Perturbers,
    binning: int,
) -> Tensor:
    """D_x of every position, shape (n, m, a)."""
    height, width = model.scene.height // binning, model.scene.width // binning

    def binned(image: Tensor) -> Tensor:
        return image.reshape(*image.shape[:-2], height, binning, width, binning).mean(dim=(-3, -1))

    x, y = model.scene.grid(fitted.values)
    bend = perturbers.deflections(binned(x), binned(y))
    full = model.expand(fitted.values)
    light = model.scene.tangents(full, ())
    gradient = binned(fitted.amplitudes[:, 1, None, None, None] * light.source_gradient)
    _, response = model.responses(full, data.psf)
    coarse = Response(
        response.rows.unflatten(-1, (height, binning)).sum(dim=-1),
        response.columns.unflatten(-1, (width, binning)).sum(dim=-1),
    )
    if is_compiled(gradient):
        both = torch.stack(bend).numpy()
        lines = model.measurement.lines
        return torch.from_numpy(project_bent(gradient.numpy(), both, coarse.bands, lines))
    responses = []
    for part in torch.arange(len(gradient), device=gradient.device).split(IMAGES_PER_CHUNK):
        gx, gy = gradient[part, :, None].unbind(dim=1)
        moved_light = (gx * -bend[0]).addcmul_(gy, -bend[1])
        responses.append(model.measurement.select(coarse.select(part)(moved_light)))
    return torch.cat(responses)
