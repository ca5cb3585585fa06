"""What can be said of a fit: a code for programs, and words for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Note", "Remark", "codes", "words"]


class Remark(StrEnum):
    """Kinds of remarks; the value is the code in the column `doubts`."""

    ASSUMED_SCALE = "assumed-scale"
    NOT_NUMBERS = "not-numbers"
    NOISE_LEVEL = "noise-level"
    FAR_CHI2 = "far-chi2"
    SMALL_CUTOUT = "small-cutout"
    OFF_CENTRE = "off-centre"
    POOR_FIT = "poor-fit"
    FAINT_SOURCE = "faint-source"
    RIVAL_RADIUS = "rival-radius"
    UNCERTAIN_RADIUS = "uncertain-radius"
    NOT_CONVERGED = "not-converged"
    LARGE_SHEAR = "large-shear"
    LARGE_ELLIPTICITY = "large-ellipticity"
    ODD_SLOPE = "odd-slope"
    FAR_SOURCE = "far-source"
    MASS_APART = "mass-apart"
    NO_LENS_LIGHT = "no-lens-light"

    @property
    def is_doubt(self) -> bool:
        """Whether a fit of which this is said should not be trusted."""
        return self not in (Remark.NOT_NUMBERS, Remark.NO_LENS_LIGHT)


WORDS = {
    Remark.ASSUMED_SCALE: "pixel scale assumed to be {:g} arcsec",
    Remark.NOT_NUMBERS: "{:d} pixels are not numbers and are masked",
    Remark.NOISE_LEVEL: "the noise map is {:.2g} times the scatter of the background",
    Remark.FAR_CHI2: "chi2 per pixel of {:.2g}, far from 1, or from the 0.5 of drizzled images: "
    "the noise map or the model is wrong",
    Remark.SMALL_CUTOUT: "the cutout reaches {:.2f} arcsec from its middle; {:g} are needed",
    Remark.OFF_CENTRE: "the lens is {:.2f} arcsec from the middle of the cutout; at most {:g} work",
    Remark.POOR_FIT: "poor fit on the arcs: chi2 per pixel {:.2f}, {:.2f} elsewhere",
    Remark.FAINT_SOURCE: "faint source: total signal-to-noise ratio {:.0f}",
    Remark.RIVAL_RADIUS: "another Einstein radius fits almost as well: {:.2f} arcsec",
    Remark.UNCERTAIN_RADIUS: "Einstein radius uncertain by more than {:.0%}",
    Remark.NOT_CONVERGED: "the fit has not converged",
    Remark.LARGE_SHEAR: "shear of {:.2f} is implausible",
    Remark.LARGE_ELLIPTICITY: "ellipticity of {:.2f} is implausible",
    Remark.ODD_SLOPE: "slope of {:.2f} is implausible",
    Remark.FAR_SOURCE: "the source lies too far out to be imaged twice",
    Remark.MASS_APART: "mass and light of the lens are {:.2f} arcsec apart",
    Remark.NO_LENS_LIGHT: "the lens galaxy is not seen; places are relative to its mass",
}
"""What each says, with places for its numbers."""


@dataclass(frozen=True)
class Note:
    """A remark on one fit, with its numbers; as text it is what a person reads."""

    remark: Remark
    numbers: tuple[float, ...] = ()

    def __str__(self) -> str:
        return WORDS[self.remark].format(*self.numbers)


def words(notes: Sequence[Note]) -> str:
    """Text of the column `quality`."""
    return "; ".join(map(str, notes)) or "good"


def codes(notes: Sequence[Note]) -> str:
    """Text of the column `doubts`: codes of the doubts among the notes, with spaces between."""
    return " ".join(note.remark for note in notes if note.remark.is_doubt)
