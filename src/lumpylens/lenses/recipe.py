"""Digest of all that decides the row of a lens."""

from __future__ import annotations

from lumpylens.files.digests import digest_of
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.priors import DEFAULT, Priors
from lumpylens.lenses.remarks import words

__all__ = ["digest_of_lens"]

RECIPE = "9"
"""Part of every digest; a change of the fit that changes its numbers raises it."""


def digest_of_lens(cutout: Cutout, seed: int, priors: Priors = DEFAULT) -> str:
    """Digest of the pixels, the settings and the recipe of a fit, in 16 hexadecimal digits.

    Parameters
    ----------
    cutout : Cutout
    seed : int
        Of the draws of noise.
    priors : Priors
    """
    image, noise, psf = cutout.image, cutout.noise, cutout.psf
    settings = f"{cutout.id} {cutout.pixel_scale_arcsec!r} {seed} {RECIPE} {words(cutout.notes)}"
    if cutout.sky is not None:
        settings += f" {cutout.sky.rounded()}"
    if priors != DEFAULT:
        settings += f" {priors}"
    return digest_of(
        repr(image.shape), image, repr(noise.shape), noise, repr(psf.shape), psf, settings
    )[:16]
