"""Priors of the mass of a lens: their widths, as stated or given by a user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lumpylens.errors import DataError

__all__ = ["DEFAULT", "Priors", "priors_of"]


@dataclass(frozen=True)
class Priors:
    """Means and standard deviations of Gaussian priors; some have a standard deviation alone.

    Attributes
    ----------
    slope : (float, float)
        Three-dimensional slope of the mass. Measured by lensing and dynamics (Auger et al. 2010,
        arXiv:1007.2880): 2.08 with a scatter of 0.16.
    einstein_radius : (float, float)
        Arcsec; the prior is log-normal, its relative width is their ratio. Massive galaxies halfway
        to their sources have it within a factor of 1.6: it scales with the square of the velocity
        dispersion, 250 km/s within a quarter.
    shear : float
        Each component of the external shear.
    ellipticity : float
        Each component of ``-ln(axis ratio)`` of the mass, about that of the light.
    centre : float
        Each coordinate of the mass, about the light's, arcsec.
    multipoles : float
        Each component of the third and fourth multipoles, as a fraction of the mass: like those
        of the isophotes of ellipticals (Hao et al. 2006, astro-ph/0605319).
    """

    slope: tuple[float, float] = (2.0, 0.15)
    einstein_radius: tuple[float, float] = (1.2, 0.54)
    shear: float = 0.08
    ellipticity: float = 0.25
    centre: float = 0.04
    multipoles: float = 0.01

    def __str__(self) -> str:
        """As the option takes them."""
        return " ".join(
            f"{name}={','.join(f'{number:g}' for number in _numbers(value))}"
            for name, value in asdict(self).items()
        )


DEFAULT = Priors()
NAMES = tuple(field.name for field in fields(Priors))


def priors_of(given: Mapping[str, float | Sequence[float]] | Sequence[str] | None) -> Priors:
    """Make the priors from what a user gives.

    Parameters
    ----------
    given : mapping of str to numbers, or sequence of str, optional
        Such as ``{"slope": (2.0, 0.15), "shear": 0.08}``, or ``["slope=2.0,0.15", "shear=0.08"]``.
        The others are as in `Priors`.

    Raises
    ------
    DataError
        In one line, if there is no such prior, or its numbers make no sense.
    """
    changed: dict[str, Any] = {}
    for name, numbers in _pairs(given):
        if name not in NAMES:
            raise DataError(f"no prior {name!r}; choose one of {', '.join(NAMES)}")
        if name in changed:
            raise DataError(f"the prior {name} was given twice")
        changed[name] = _checked(name, numbers)
    return replace(DEFAULT, **changed)


def _numbers(value: float | Sequence[float]) -> Sequence[float]:
    return (value,) if isinstance(value, int | float) else value


def _pairs(
    given: Mapping[str, float | Sequence[float]] | Sequence[str] | None,
) -> list[tuple[str, list[float]]]:
    """Names and numbers, from text or not."""
    if isinstance(given, Mapping):
        return [
            (name, [float(number) for number in _numbers(value)]) for name, value in given.items()
        ]
    pairs = []
    for text in given or ():
        name, equals, numbers = text.partition("=")
        try:
            values = [float(number) for number in numbers.split(",")]
        except ValueError:
            values = []
        if not equals or not values:
            raise DataError(f"a prior is NAME=NUMBER or NAME=MEAN,SPREAD, got {text!r}")
        pairs.append((name.strip().replace("-", "_"), values))
    return pairs


def _checked(name: str, numbers: Sequence[float]) -> float | tuple[float, ...]:
    needed = len(_numbers(getattr(DEFAULT, name)))
    if len(numbers) != needed:
        what = "its mean and its standard deviation" if needed == 2 else "its standard deviation"
        raise DataError(f"the prior {name} needs {what}, got {len(numbers)} numbers")
    if not all(map(math.isfinite, numbers)) or numbers[-1] <= 0:
        raise DataError(f"the standard deviation of the prior {name} is not a positive number")
    if name == "einstein_radius" and numbers[0] <= 0:
        raise DataError("the mean of the prior einstein_radius is not a positive number")
    return tuple(numbers) if needed == 2 else numbers[0]
