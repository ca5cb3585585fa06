"""Elementary functions of rows of numbers, in loops that a processor computes eight at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "ARCTAN", "HALF_LN2", "HALF_PI", "LOG2E", "F", "Image", "compiled", "exp2_row", "log2_row",
    "polynomial",
]  # fmt: skip

Image = NDArray[np.float32]

compiled: Callable[[Any], Any] = njit(cache=True, fastmath=True, error_model="numpy", nogil=True)
"""Compiled code is kept per file: after a change in this file, delete the `__pycache__` folder."""

F = np.float32
LOG2E = F(math.log2(math.e))


def polynomial(function: Callable[[Any], Any], low: float, degree: int) -> tuple[Any, ...]:
    """Approximate a function on `low` to `low` + 1: coefficients about the middle, lowest first."""
    middle = low + 0.5
    chebyshev = np.polynomial.chebyshev.chebinterpolate(lambda t: function(middle + t / 2), degree)
    power = np.polynomial.chebyshev.cheb2poly(chebyshev)
    return tuple(F(c) for c in power * 2.0 ** np.arange(degree + 1))


LOG2 = polynomial(np.log2, 1.0, 9)
EXP2 = polynomial(np.exp2, 0.0, 6)
ARCTAN = polynomial(lambda square: np.arctan(np.sqrt(square)) / np.sqrt(square), 0.0, 9)
HALF_PI, HALF_LN2 = F(math.pi / 2), F(math.log(2) / 2)


@compiled
def log2_row(values, exponent, mantissa):  # type: ignore[no-untyped-def]
    """Logarithm to base 2 in place, to 2e-7, in loops that a processor computes eight at a time."""
    bits, mantissa_bits = values.view(np.int32), mantissa.view(np.int32)
    for j in range(values.shape[0]):
        exponent[j] = (bits[j] >> 23) - 127
        mantissa_bits[j] = (bits[j] & 0x7FFFFF) | 0x3F800000
    for j in range(values.shape[0]):
        m = mantissa[j] - F(1.5)
        total = LOG2[9]
        for k in range(9):
            total = total * m + LOG2[8 - k]
        values[j] = total + F(exponent[j])


@compiled
def exp2_row(values, exponent, scale):  # type: ignore[no-untyped-def]
    """Power of two in place, to 2e-7 of it; at least 2^-126."""
    scale_bits = scale.view(np.int32)
    for j in range(values.shape[0]):
        power = min(max(values[j], F(-126)), F(126))
        whole = np.floor(power)
        values[j] = power - whole
        exponent[j] = np.int32(whole)
    for j in range(values.shape[0]):
        scale_bits[j] = (exponent[j] + 127) << 23
    for j in range(values.shape[0]):
        part = values[j] - F(0.5)
        total = EXP2[6]
        for k in range(6):
            total = total * part + EXP2[5 - k]
        values[j] = total * scale[j]
