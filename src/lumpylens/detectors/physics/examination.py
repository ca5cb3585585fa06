"""What the `physics` detector does with images: read, fit and filter them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.data.images import ImageBatch
from lumpylens.physics.batches import map_chunks, per_lens
from lumpylens.physics.encoder import ESTIMATED, Encoder, Eyepiece
from lumpylens.physics.fit_data import Data, Fit, Prior, observe
from lumpylens.physics.learning import GREY, broad_prior, stages_of
from lumpylens.physics.model import SmoothModel
from lumpylens.physics.parameters import GEOMETRY, INDEX
from lumpylens.physics.perturbation import Filter, Perturbers, Signals
from lumpylens.physics.population import GaussianPopulation
from lumpylens.physics.records import join, moved
from lumpylens.physics.render import Scene
from lumpylens.physics.scores import lit_deviance
from lumpylens.physics.spectrum import Spectrum
from lumpylens.physics.staged_fit import Stage, staged_fit

CPU = torch.device("cpu")

__all__ = ["Examination", "Examiner", "Unit", "prior_of_fits", "read", "take"]

MASS, CENTRE_X, CENTRE_Y = (
    INDEX[name] for name in ("log_einstein_radius_px", "centre_x_px", "centre_y_px")
)
BLUR = "log_psf_sigma_px"
POSITIONS = 100
"""Positions of perturbers within the Einstein radius, spread like the mass there. Not tuned."""

BINNED_RADIUS_PX = 16.0
"""Einstein radius from which on the deflections of perturbers are averaged over two pixels. In
smaller images that hides much of what lumps change."""

READ_AT_ONCE = 8
"""Images that the encoder reads at once: four times as fast as one by one."""


@dataclass(frozen=True)
class Unit:
    """From the images' pixels to the grey levels that fits work in.

    Attributes
    ----------
    brightness : float
        Grey levels per unit of the pixels.
    compressed : bool
        Whether the images are 8-bit and compressed. These may come on a [0, 1] scale, too.
    noise_given, psf_given : bool
        Whether the training images had noise maps and PSFs. Where they had none, the learned ones
        serve, whatever an image brings along.
    """

    brightness: float
    compressed: bool
    noise_given: bool
    psf_given: bool

    def missing(self, batch: ImageBatch) -> str:
        """Say what the images of a batch lack to be fitted; empty if nothing."""
        lacks = [
            name
            for name, needed, in_batch in (
                ("noise map", self.noise_given, batch.noise),
                ("PSF", self.psf_given, batch.psf),
            )
            if needed and in_batch is None
        ]
        return f"no {' and no '.join(lacks)}, which the training images had" if lacks else ""

    def grey(self, pixels: NDArray[np.float32]) -> Tensor:
        """Images in grey levels, shape (n, H, W)."""
        grey = torch.from_numpy(np.ascontiguousarray(pixels)) * self.brightness
        if not self.compressed:
            return grey
        unit = grey.amax(dim=(1, 2), keepdim=True) <= 1.0 + 1e-6
        return torch.where(unit, grey * GREY, grey)

    def observe(self, model: SmoothModel, batch: ImageBatch, device: torch.device = CPU) -> Data:
        """Images ready to be compared with a model."""
        noise, psf = self.noise(batch), None
        if self.psf_given and batch.psf is not None:
            psf = torch.from_numpy(batch.psf).to(device)
        return observe(
            model,
            self.grey(batch.pixels).to(device),
            None if noise is None else noise.to(device),
            psf,
        )

    def noise(self, batch: ImageBatch) -> Tensor | None:
        """Noise maps in grey levels, shape (n, H, W), if the training images had any."""
        if not self.noise_given or batch.noise is None:
            return None
        return torch.from_numpy(batch.noise) * self.brightness


@torch.no_grad()
def read(encoder: Encoder, shape: tuple[int, int], grey: Tensor, shared: Tensor) -> Tensor:
    """Parameter vectors (n, COUNT) that the encoder reads off images.

    Parameters
    ----------
    encoder : Encoder
    shape : (int, int)
        Of the images.
    grey : Tensor, shape (n, H, W)
    shared : Tensor, shape (COUNT,)
        What is taken for the numbers that the encoder does not read.
    """
    eyepiece = Eyepiece.for_samples(shape, encoder.input_shape)
    full = shared.repeat(len(grey), 1)
    # Always as many at once, if need be with dark ones: products and convolutions of few images
    # round differently from those of many, and a start that differs in its last digit may end in
    # another valley.
    dark = grey.new_zeros(-len(grey) % READ_AT_ONCE, *grey.shape[1:])
    parts = torch.cat([grey, dark]).split(READ_AT_ONCE)
    estimates = torch.cat([encoder(eyepiece(part))[0] for part in parts])
    full[:, [INDEX[name] for name in ESTIMATED]] = estimates[: len(grey)]
    return full


@dataclass(frozen=True)
class Examination:
    """All that is known of some images, in their order.

    Attributes
    ----------
    fitted : Fit
    spectrum : Spectrum
        Of deflections that no lens of the population imitates.
    free_spectrum : Spectrum
        Of those that no such lens imitates, whatever its mass.
    information : Tensor, shape (n, k, k)
        Of the free parameters.
    observed, expected : Tensor of float64, shape (n,)
        Deviance of the lit part, and what noise would give.
    picture : Tensor, shape (n, H, W)
        The smooth model, in grey levels.
    blur : Tensor of float64, shape (n,)
        Estimated logarithm of the blur over that of the model; NaN where PSFs are given or it
        is one of the numbers that vary.
    """

    fitted: Fit
    spectrum: Spectrum
    free_spectrum: Spectrum
    information: Tensor
    observed: Tensor
    expected: Tensor
    picture: Tensor
    blur: Tensor


@dataclass(frozen=True)
class Examiner:
    """Fits and filters images.

    Attributes
    ----------
    shape : (int, int)
        Of the images.
    unit : Unit
    encoder : Encoder
    model : SmoothModel
    population : GaussianPopulation or None
        Of normal images, once it is known.
    device : torch.device
        Where images are fitted and filtered.
    """

    shape: tuple[int, int]
    unit: Unit
    encoder: Encoder
    model: SmoothModel
    population: GaussianPopulation | None = None
    device: torch.device = CPU

    @property
    def radius(self) -> float:
        """Einstein radius of a normal lens, px."""
        return float(torch.exp(self.model.shared[MASS]))

    def positions(self, fitted: Fit) -> Perturbers:
        """Positions at which perturbers of each lens are looked for."""
        full = self.model.expand(fitted.values)
        return Perturbers.like_halo(
            per_lens(torch.exp, full[:, MASS]), (full[:, CENTRE_X], full[:, CENTRE_Y]), POSITIONS
        )

    @cached_property
    def prior(self) -> Prior:
        """Prior of fits."""
        return prior_of_fits(self.model, self.population)

    @cached_property
    def stages(self) -> list[Stage]:
        """Stages of a fit."""
        return stages_of(self.model, self.shape)

    def look(self, batch: ImageBatch) -> Filter:
        """Fit every image, and make ready to look for perturbers."""
        data = self.unit.observe(self.model, batch, self.device)
        grey = self.unit.grey(batch.pixels).to(self.device)
        encoder = self.encoder.to(self.device)
        start = read(encoder, self.shape, grey, self.model.shared.to(self.device))
        prior = moved(self.prior, self.device)
        again = self.population is not None
        solved = staged_fit(self.stages, data, self.model.reduce(start), prior, again=again)
        return Filter(self.model, data, solved, binning=2 if self.radius > BINNED_RADIUS_PX else 1)

    @torch.no_grad()
    def fit(
        self, batch: ImageBatch, on_image: Callable[[], None] | None = None
    ) -> tuple[Fit, Tensor]:
        """Fit every image, and compute the information about its parameters, shape (n, k, k)."""

        def chunk(part: Tensor) -> tuple[Fit, Tensor]:
            filtered = self.look(take(batch, part.numpy()))
            count(part, on_image)
            return moved(filtered.solved.fitted, CPU), filtered.information.to(CPU)

        fits, information = zip(*map_chunks(chunk, len(batch)), strict=True)
        return join(fits), torch.cat(information)

    @torch.no_grad()
    def examine(self, batch: ImageBatch, on_image: Callable[[], None] | None = None) -> Examination:
        """Fit and filter every image; `on_image` is called once for each."""

        def chunk(part: Tensor) -> Examination:
            filtered = self.look(take(batch, part.numpy()))
            signals = filtered.signals(self.positions(filtered.solved.fitted))
            judged = moved(self.judge(filtered, signals), CPU)
            count(part, on_image)
            return judged

        return join(map_chunks(chunk, len(batch)))

    def judge(self, filtered: Filter, signals: Signals) -> Examination:
        """Numbers of fitted images, with the signals of perturbers at their `positions`."""
        fitted = filtered.solved.fitted
        spectrum, free_spectrum = (
            filtered.field(signals, prior).spectrum() for prior in self._priors()
        )
        observed, expected = lit_deviance(
            self.model, filtered.solved.line, filtered.solved.evidence
        )
        picture = self.model.picture(
            Scene(*self.shape), fitted.values, fitted.amplitudes, filtered.data.psf
        )
        return Examination(
            fitted=fitted,
            spectrum=spectrum,
            free_spectrum=free_spectrum,
            information=filtered.information,
            observed=observed,
            expected=expected,
            picture=picture,
            blur=(
                filtered.blur_departure()
                if filtered.data.psf is None and BLUR not in self.model.free
                else torch.full_like(observed, torch.nan)
            ),
        )

    def _priors(self) -> tuple[Prior, Prior]:
        """The population, and the same with any mass."""
        assert self.population is not None
        mass = self.model.free.index(GEOMETRY[0])
        known, free = self.population.prior(), self.population.prior(free=mass)
        return moved(known, self.device), moved(free, self.device)


def prior_of_fits(model: SmoothModel, population: GaussianPopulation | None) -> Prior:
    """Make the prior of fits: any lens at first, then one of the population, of any mass.

    The mass of lumps adds to that of the lens. A wider prior leaves more faint lenses unfinished:
    in `euclid` 6 % of the smooth ones with twice the standard deviations, and 3 % with this one.
    """
    if population is None:
        return broad_prior(model)
    return population.prior(free=model.free.index(GEOMETRY[0]))


def count(part: Tensor, on_image: Callable[[], None] | None) -> None:
    """Report every image of a part as done."""
    if on_image is not None:
        for _ in part:
            on_image()


def take(batch: ImageBatch, index: NDArray[np.int_]) -> ImageBatch:
    """Some images of a batch."""
    return replace(
        batch,
        positions=batch.positions[index],
        pixels=batch.pixels[index],
        noise=None if batch.noise is None else batch.noise[index],
        psf=None if batch.psf is None else batch.psf[index],
        jpeg_tables=tuple(batch.jpeg_tables[k] for k in index) if batch.jpeg_tables else (),
    )
