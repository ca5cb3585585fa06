"""Deflection by an elliptical power law with another slope within a break radius."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BrokenPowerLaw"]

Image = NDArray[np.float64]
Rays = NDArray[np.complex128]

LEAST = 1e-9
"""Smallest distance from the centre, so that nothing is divided by zero there, arcsec."""

SMALL, LEAST_TERMS, MOST_TERMS = 1e-9, 4, 40
"""Part of the first term of a series below which the rest is left out, and numbers of terms."""


@dataclass(frozen=True)
class BrokenPowerLaw:
    """An elliptical power law that has another slope within its break radius.

    Attributes
    ----------
    einstein_radius : float
        Of the circle with the area of the ellipse in which the mean convergence is 1, arcsec.
    eta : (float, float)
        ``-ln(q) (cos 2 phi, sin 2 phi)``.
    inner_slope, slope : float
        Three-dimensional, 2 is isothermal.
    break_radius : float
        In the same measure as the Einstein radius, arcsec.

    Notes
    -----
    O'Riordan, Warren & Mortlock 2020, 2021 (arXiv:1905.02734, 2007.06003). A shell between two
    similar ellipses does not deflect rays within it. So rays within the break see a power law, and
    rays beyond it that power law as far as it goes, and shells of the other. The deflection by the
    part of a power law within an ellipse is their hypergeometric function, here transformed to the
    series of Tessore & Metcalf 2015 (arXiv:1507.01819), which converges everywhere.
    """

    einstein_radius: float
    eta: tuple[float, float]
    inner_slope: float
    slope: float
    break_radius: float

    def deflection(self, x: Image, y: Image) -> tuple[Image, Image]:
        """Deflection along x and y, arcsec, at positions (h, w) relative to the centre."""
        flattening = math.hypot(*self.eta)
        turn = complex(*self.eta) / flattening if flattening > 0 else 1.0 + 0j
        axis = np.sqrt(turn)
        z = (x + 1j * y) * np.conj(axis)
        z = np.where(np.abs(z) < LEAST, LEAST, z)
        q = math.exp(-flattening)
        radius = np.sqrt(q * z.real**2 + z.imag**2 / q)
        at = self.break_radius
        bent = self._within(z, np.minimum(radius, at), self.inner_slope, q)
        beyond = radius > at
        far, edge = z[beyond], np.full(int(beyond.sum()), at)
        bent[beyond] += self._within(far, radius[beyond], self.slope, q)
        bent[beyond] -= self._within(far, edge, self.slope, q)
        bent = np.conj(bent) * (self._convergence_at_break() * axis)
        return bent.real, bent.imag

    def _convergence_at_break(self) -> float:
        inner, outer = 3 - self.inner_slope, 3 - self.slope
        ratio = self.einstein_radius / self.break_radius
        within = min(ratio, 1.0) ** inner / inner
        within += (max(ratio, 1.0) ** outer - 1) / outer
        return float(ratio**2 / (2 * within))

    def _within(self, z: Rays, radius: Image, slope: float, q: float) -> Rays:
        """Conjugate deflection by the part of a power law within ellipses, one for each ray.

        Its convergence at the break is 1, and its long axis is x.
        """
        t = slope - 1
        root = np.sqrt(1 - (1 / q - q) * (radius / z) ** 2)
        step = -(1 - root) / (1 + root)
        terms = math.ceil(math.log(SMALL) / math.log(min(max((1 - q) / (1 + q), 1e-6), 0.99)))
        coefficients = [1.0]
        for n in range(1, min(max(terms, LEAST_TERMS), MOST_TERMS)):
            coefficients.append(coefficients[-1] * (2 * n - 2 + t) / (2 * n + 2 - t))
        series = np.full_like(z, coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            series = series * step + coefficient
        strength = 2 * self.break_radius**t * radius ** (2 - t) / (2 - t)
        bent: Rays = strength / z * 2 / (1 + root) * series
        return bent
