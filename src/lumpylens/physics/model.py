"""Forward model: from the parameters of a smooth lens to the coefficients of its observed image.

`SmoothModel` holds what the images of a population share (grid, basis, blur, shared numbers, noise)
and turns the parameters of each image into predictions and their derivatives. Lens light, source
light and background are linear columns, whose amplitudes are solved for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from lumpylens.physics.batches import derivative_along, is_compiled, per_lens
from lumpylens.physics.compiled.detail import any_source_tangents
from lumpylens.physics.compiled.prediction import predict_coefficients
from lumpylens.physics.compiled.projection import project_tangents
from lumpylens.physics.compiled.tangents import LENS_COLUMNS, SOURCE_COLUMNS, lens_tangents
from lumpylens.physics.noise import BLOCK, KEPT, Measurement
from lumpylens.physics.parameters import COUNT, INDEX
from lumpylens.physics.psf import (
    Blur,
    Response,
    gaussian_matrix,
    gaussian_response,
    kernel_response,
)
from lumpylens.physics.render import Scene
from lumpylens.physics.source_detail import SourceDetail, is_shapelet

__all__ = ["AMPLITUDES", "Linearisation", "NoiseLevel", "SmoothModel"]

AMPLITUDES = ("lens_light", "source", "background")
PSF_NAME = "log_psf_sigma_px"
PSF_COLUMN = INDEX[PSF_NAME]


FARTHEST = (("_index", 2.5), ("_eta_", 4.0), ("log_", 10.0))
"""Largest magnitudes of parameters whose names contain a word: Sersic indices from 0.08 to 12, axis
ratios from 0.02, lengths of up to 20,000 px."""


@dataclass(frozen=True)
class NoiseLevel:
    """Variance of the noise before compression, in squared image units.

    variance = floor + gain * light + offset * background^2 + roughness^2 * light^2

    Attributes
    ----------
    floor : float
        Of sky and read-out, and of rounding to whole grey levels.
    gain : float
        Photon noise per unit of brightness.
    offset : float
        For an image whose darkest pixel was shifted to 0: its background is as large as its
        sky noise.
    roughness : float
        Error of the model itself, as a fraction of the brightness.
    """

    floor: float
    gain: float = 0.0
    offset: float = 0.0
    roughness: float = 0.0

    def variance(self, light: Tensor, background: Tensor) -> Tensor:
        """Variance at brightness `light` above `background` (n, 1, 1)."""
        light = light.clamp_min(0)
        return (
            self.floor
            + self.gain * light
            + self.offset * background.square()
            + (self.roughness * light).square()
        )


@dataclass(frozen=True)
class Linearisation:
    """Prediction and derivatives at one point per image.

    Attributes
    ----------
    predicted : Tensor, shape (n, a)
    sigma : Tensor, shape (n, a)
        Standard deviation of the noise there.
    light : Tensor, shape (n, a)
        Brightness around each coefficient, above the background.
    tangents : Tensor, shape (n, k + 3, a)
        Derivatives with respect to the free parameters, then to the amplitudes.
    """

    predicted: Tensor
    sigma: Tensor
    light: Tensor
    tangents: Tensor


@dataclass(frozen=True)
class SmoothModel:
    """Everything that the images of a population share.

    Attributes
    ----------
    scene : Scene
    measurement : Measurement
    shared : Tensor, shape (COUNT,)
        A value for every parameter; used for those that are not free.
    free : tuple of str
        Parameters that vary from image to image.
    noise : NoiseLevel
    psf_radius : int
        Half-width of the Gaussian kernel, pixels.
    detail : SourceDetail or None
        Shapelets on the Sersic profile of every source; None for the profile alone.
    """

    scene: Scene
    measurement: Measurement
    shared: Tensor
    free: tuple[str, ...]
    noise: NoiseLevel
    psf_radius: int = 8
    detail: SourceDetail | None = None
    _shared_responses: dict[Any, tuple[Response, Response]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def with_shared(self, shared: Tensor) -> SmoothModel:
        """Replace the shared numbers."""
        return replace(self, shared=shared)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of what a fit finds: the free parameters, then the coefficients of shapelets."""
        return self.free if self.detail is None else (*self.free, *self.detail.names)

    @property
    def count(self) -> int:
        """How many numbers of each image a fit finds, besides the amplitudes."""
        return len(self.names)

    @cached_property
    def free_index(self) -> list[int]:
        """Positions of the free parameters in a full vector."""
        return [INDEX[name] for name in self.free]

    @cached_property
    def farthest(self) -> Tensor:
        """Largest magnitude that each number may take in a fit, shape (k,).

        Beyond it lies no lens, and single precision overflows.
        """
        limits = [
            next((limit for word, limit in FARTHEST if word in name), 1000.0) for name in self.names
        ]
        return torch.tensor(limits, device="cpu")

    def expand(self, values: Tensor) -> Tensor:
        """Fitted numbers (n, k) to full vectors (n, COUNT), with shapelets (n, COUNT + m)."""
        full = self.shared.to(values).repeat(len(values), 1)
        if self.detail is None:
            full[:, self.free_index] = values
            return full
        full[:, self.free_index] = values[:, : len(self.free)]
        return torch.cat([full, values[:, len(self.free) :]], dim=1)

    def reduce(self, full: Tensor) -> Tensor:
        """Full vectors, with or without shapelets, to fitted numbers (n, k)."""
        values = full[:, self.free_index]
        if self.detail is None:
            return values
        return self.adopt(torch.cat([values, full[:, COUNT:]], dim=1))

    def adopt(self, values: Tensor) -> Tensor:
        """Take numbers (n, j) of a model with the same free parameters, with other shapelets.

        Coefficients that it did not have are 0, and those that this one has not are left out.
        """
        lacking = self.count - values.shape[1]
        if lacking > 0:
            return torch.nn.functional.pad(values, (0, lacking))
        return values[:, : self.count] if lacking else values

    # -- instrument -------------------------------------------------------------------------

    @cached_property
    def basis(self) -> Tensor:
        """Matrix from rendered rows to coefficients, shape (c, h).

        Rendered pixels may be binned, and the compared square has a margin, from which light is
        blurred into it.
        """
        binning = round(self.scene.pixel)
        margin = (self.scene.height * binning - self.measurement.size) // 2
        padded = torch.nn.functional.pad(self.measurement.basis, (margin, margin))
        return padded.reshape(-1, self.scene.height, binning).sum(dim=2)

    def given_blur(self, psf: Tensor | Blur | None) -> Blur | None:
        """Maps of given point-spread functions (n, p, p), which no parameter changes."""
        if psf is None or isinstance(psf, Blur):
            return psf
        lens = kernel_response(self.basis.to(psf), psf)
        return Blur(lens, lens.of_centres(self.source_variance))

    def responses(self, full: Tensor, psf: Tensor | Blur | None) -> tuple[Response, Response]:
        """Maps from lens light and from source light to coefficients.

        The source is sampled at pixel centres only, so its blur is slightly wider, to stand for
        the average over the pixel that the lens light gets by sub-sampling.
        """
        given = self.given_blur(psf.to(full) if isinstance(psf, Tensor) else psf)
        if given is not None:
            return given.lens, given.source
        if PSF_NAME in self.free:
            return self._gaussian_responses(full)
        kind = (full.dtype, full.device)
        if kind not in self._shared_responses:
            self._shared_responses[kind] = self._gaussian_responses(full[:1])
        return self._shared_responses[kind]

    def _gaussian_responses(self, full: Tensor) -> tuple[Response, Response]:
        basis = self.basis.to(full)
        sigma = self.blur_sigma(full)
        wider = (sigma.square() + self.source_variance).sqrt()
        return (
            gaussian_response(basis, sigma, self.psf_radius),
            gaussian_response(basis, wider, self.psf_radius),
        )

    def blur_sigma(self, full: Tensor) -> Tensor:
        """Width of the Gaussian blur, rendered pixels, (n,), or (1,) where all images share it."""
        shared = PSF_NAME not in self.free
        return per_lens(torch.exp, full[: 1 if shared else None, PSF_COLUMN]) / self.scene.pixel

    @property
    def source_variance(self) -> float:
        """Variance, in rendered px^2, of the average over a pixel, added to the source's blur."""
        return self.scene.sampling_variance / self.scene.pixel**2

    def constant(self, like: Tensor) -> Tensor:
        """Coefficients (1, c, c) of a background of 1."""
        return self.measurement.constant.to(like)[None]

    def columns(
        self,
        values: Tensor,
        psf: Tensor | Blur | None = None,
        extra: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Coefficients (n, 3, c, c) of lens light, source and background of amplitude 1.

        Parameters
        ----------
        values : Tensor, shape (n, k)
            Free parameters.
        psf : Tensor, shape (n, p, p), or Blur, optional
            Given point-spread functions, or their maps, instead of the Gaussian.
        extra : pair of Tensor, shape (n, h, w), optional
            Deflection of perturbers.
        """
        full = self.expand(values)
        responses = self.responses(full, psf)
        if extra is None and is_compiled(full):
            nothing = full.new_zeros(len(full), 0, self.measurement.lines.count)
            unit = full.new_ones(len(full), 2)
            lens, source = self._compiled_tangents(nothing, full, (), unit, responses)
        else:
            light = self.scene.light(full, extra)
            lens, source = (
                response(image[:, None])[:, 0]
                for response, image in zip(responses, (light.lens, light.source), strict=True)
            )
        flat = self.constant(values).expand(len(values), -1, -1)
        return torch.stack([lens, source, flat], dim=1)

    def predict(
        self,
        values: Tensor,
        amplitudes: Tensor,
        psf: Tensor | None = None,
        extra: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Coefficients (n, c, c) of lenses with the given parameters and amplitudes (n, 3)."""
        return torch.einsum("nk,nkab->nab", amplitudes, self.columns(values, psf, extra))

    def sigma(self, predicted: Tensor, amplitudes: Tensor, noise: Tensor | None) -> Tensor:
        """Standard deviation (n, a) of the noise of each compared coefficient.

        Parameters
        ----------
        predicted : Tensor, shape (n, c, c)
        amplitudes : Tensor, shape (n, 3)
        noise : Tensor, shape (n, H, W), or None
            Given noise maps; the noise level of the model is added to them.
        """
        measurement = self.measurement
        background = amplitudes[:, 2, None, None]
        light = measurement.local_mean(predicted) - background
        variance = self.noise.variance(light, background)
        if noise is not None:
            variance = variance + measurement.crop(noise).square()
        variance = variance + measurement.rounding_variance(predicted, variance)
        return measurement.select(variance).sqrt()

    def picture(
        self, scene: Scene, values: Tensor, amplitudes: Tensor, psf: Tensor | None = None
    ) -> Tensor:
        """Render noiseless images (n, H, W) on another grid.

        Parameters
        ----------
        scene : Scene
        values : Tensor, shape (n, k)
        amplitudes : Tensor, shape (n, 3)
        psf : Tensor, shape (n, p, p), optional
        """
        side = max(scene.height, scene.width)
        uncropped = replace(
            self,
            scene=replace(scene, height=side, width=side, cusp_samples=self.scene.cusp_samples),
            measurement=Measurement(0, 0, side),
        )
        images = uncropped.predict(values, amplitudes, psf)
        return images[:, : scene.height, : scene.width]

    # -- derivatives ------------------------------------------------------------------------

    def linearise(
        self,
        values: Tensor,
        amplitudes: Tensor,
        psf: Tensor | Blur | None = None,
        noise: Tensor | None = None,
        also: Sequence[str] = (),
    ) -> Linearisation:
        """Compute prediction and derivatives.

        Parameters
        ----------
        values : Tensor, shape (n, k)
        amplitudes : Tensor, shape (n, 3)
        psf : Tensor, shape (n, p, p), or Blur, optional
        noise : Tensor, shape (n, H, W), optional
        also : sequence of str
            Shared parameters whose derivatives are added, after those of the free ones.
        """
        full = self.expand(values)
        names = (*self.names, *also)
        pick, count = self.measurement.select, len(names)
        flat = self.constant(values).expand(len(values), -1, -1)
        tangents = full.new_zeros(len(full), count + len(AMPLITUDES), len(pick(flat[0])))
        add = self._compiled_tangents if is_compiled(full) else self._reference_tangents
        lens, source = add(tangents, full, names, amplitudes, self.responses(full, psf))
        if PSF_NAME in names:
            tangents[:, names.index(PSF_NAME)] = pick(self._psf_tangent(full, amplitudes))
        for place, column in enumerate((lens, source, flat), start=count):
            tangents[:, place] = pick(column)
        predict = self._compiled_prediction if is_compiled(full) else self._reference_prediction
        predicted, sigma, light = predict(lens, source, amplitudes, noise)
        return Linearisation(predicted, sigma, light, tangents)

    def _compiled_prediction(
        self, lens: Tensor, source: Tensor, amplitudes: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compared coefficients, their noise, and the brightness around them, (n, a) each."""
        measurement, level = self.measurement, self.noise
        given = None if noise is None else measurement.crop(noise).contiguous().numpy()
        numbers = predict_coefficients(
            (lens.numpy(), source.numpy(), self.constant(lens)[0].numpy()),
            amplitudes.numpy(),
            measurement.lines.flat(len(measurement.basis)),
            (1, 1) if measurement.steps is None else (BLOCK, KEPT),
            (level.floor, level.gain, level.offset, level.roughness),
            given,
        )
        predicted, sigma, light = torch.from_numpy(numbers)
        return predicted, sigma, light

    def _reference_prediction(
        self, lens: Tensor, source: Tensor, amplitudes: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do what `_compiled_prediction` does, on any device and in any precision."""
        a_lens, a_source, background = (amplitudes[:, i, None, None] for i in range(3))
        predicted = a_lens * lens + a_source * source + background * self.constant(lens)
        light = self.measurement.local_mean(predicted) - background
        pick = self.measurement.select
        return pick(predicted), self.sigma(predicted, amplitudes, noise), pick(light)

    def _compiled_tangents(
        self,
        tangents: Tensor,
        full: Tensor,
        names: Sequence[str],
        amplitudes: Tensor,
        responses: tuple[Response, Response],
    ) -> tuple[Tensor, Tensor]:
        """Add the derivatives of lens and source light to `tangents`.

        Returns
        -------
        lens, source : Tensor, shape (n, c, c)
            All coefficients of the light of unit amplitude.
        """
        pixels, numbers = self.scene.pixels, full.double().numpy()
        of_lens = [name for name in names if name in LENS_COLUMNS]
        of_source = [name for name in names if name in SOURCE_COLUMNS]
        of_source += [name for name in names if is_shapelet(name)]
        sources = any_source_tangents(pixels, numbers, of_source)
        lights = (
            (of_lens, lens_tangents(pixels, numbers, of_lens)),
            (of_source, (light for light, _ in sources)),
        )
        lens, source = (
            project_tangents(
                tangents.numpy(),
                light,
                response.bands,
                self.measurement.lines,
                self.measurement.all_lines,
                amplitude.numpy(),
                [names.index(name) for name in known],
            )
            for (known, light), response, amplitude in zip(
                lights, responses, amplitudes[:, :2].unbind(dim=1), strict=True
            )
        )
        return torch.from_numpy(lens), torch.from_numpy(source)

    def _reference_tangents(
        self,
        tangents: Tensor,
        full: Tensor,
        names: Sequence[str],
        amplitudes: Tensor,
        responses: tuple[Response, Response],
    ) -> tuple[Tensor, Tensor]:
        """Do what `_compiled_tangents` does, on any device and in any precision."""
        to_lens, to_source = responses
        light = self.scene.tangents(full, names)
        lens, source = to_lens(light.lens), to_source(light.source)
        for known, coefficients, amplitude in (
            (light.lens_names, lens, amplitudes[:, 0, None]),
            (light.source_names, source, amplitudes[:, 1, None]),
        ):
            for k, name in enumerate(known, start=1):
                slope = self.measurement.select(coefficients[:, k])
                tangents[:, names.index(name)] += amplitude * slope
        return lens[:, 0], source[:, 0]

    def _psf_tangent(self, full: Tensor, amplitudes: Tensor) -> Tensor:
        """Derivative with respect to the logarithm of a Gaussian blur's width."""
        light = self.scene.light(full)
        basis = self.basis.to(full)
        sigma = per_lens(torch.exp, full[:, PSF_COLUMN]) / self.scene.pixel

        def blurred(variance: float) -> Callable[[Tensor], Tensor]:
            def matrix(log_sigma: Tensor) -> Tensor:
                width = (torch.exp(2 * log_sigma) + variance).sqrt()
                return torch.matmul(basis, gaussian_matrix(basis.shape[1], width, self.psf_radius))

            return matrix

        total = torch.zeros_like(sigma[:1, None, None])
        for image, variance, column in (
            (light.lens, 0.0, 0),
            (light.source, self.source_variance, 1),
        ):
            blur, change = derivative_along(blurred(variance), sigma.log(), torch.ones_like(sigma))
            half = change @ image @ blur.mT
            other = blur @ image @ change.mT
            total = total + amplitudes[:, column, None, None] * (half + other)
        return total
