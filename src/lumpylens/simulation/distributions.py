"""Distributions that the numbers of a lens are drawn from."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError

__all__ = [
    "LogNormal",
    "Normal",
    "Number",
    "PowerLaw",
    "Range",
    "draw",
    "largest",
    "look_up",
    "number_from",
    "smallest",
]

Value = TypeVar("Value")

Range = tuple[float, float]
"""Smallest and largest value of a uniform distribution; equal for a constant."""


@dataclass(frozen=True)
class Normal:
    """Normal distribution, cut at `low` and `high`."""

    mean: float
    spread: float
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        _check_limits(self, self.spread >= 0 and self.low <= self.mean <= self.high)

    def draw(self, random: np.random.Generator) -> float:
        """One number."""
        while True:
            value = self.mean + self.spread * random.standard_normal()
            if self.low <= value <= self.high:
                return float(value)


@dataclass(frozen=True)
class LogNormal:
    """Log-normal distribution, cut at `low` and `high`; `spread` is that of the natural log."""

    median: float
    spread: float
    low: float = 1e-300
    high: float = math.inf

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        inside = self.spread >= 0 and 0 < self.low <= self.median <= self.high
        _check_limits(self, inside)

    def draw(self, random: np.random.Generator) -> float:
        """One number."""
        while True:
            value = self.median * math.exp(self.spread * random.standard_normal())
            if self.low <= value <= self.high:
                return float(value)


@dataclass(frozen=True)
class PowerLaw:
    """Density proportional to the number to the power `slope`; -1 is uniform in the logarithm."""

    slope: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn from."""
        _check_limits(self, 0 <= self.low < self.high and (self.low > 0 or self.slope > -1))

    def draw(self, random: np.random.Generator) -> float:
        """One number."""
        return float(self.quantile(random.random()))

    def draw_many(self, count: int, random: np.random.Generator) -> NDArray[np.float64]:
        """An array of numbers."""
        values: NDArray[np.float64] = self.quantile(random.random(count))
        return values

    def quantile(self, part: Any) -> Any:
        """Value below which the fraction `part` of the numbers lies."""
        power = self.slope + 1
        if power == 0:
            return self.low * (self.high / self.low) ** part
        low, high = self.low**power, self.high**power
        return (low + (high - low) * part) ** (1 / power)

    def moment(self, order: int) -> float:
        """Mean of the `order`-th power of the number."""

        def integral(power: float) -> float:
            if power == 0:
                return math.log(self.high / self.low)
            return float(self.high**power - self.low**power) / power

        return integral(self.slope + 1 + order) / integral(self.slope + 1)


Number = float | Range | Normal | LogNormal | PowerLaw
"""A constant, a uniform range, or another distribution."""


def draw(number: Number, random: np.random.Generator) -> float:
    """Draw from any distribution; a constant uses no random number."""
    if isinstance(number, (int, float)):
        return float(number)
    if isinstance(number, tuple):
        return float(random.uniform(*number))
    return number.draw(random)


def smallest(number: Number) -> float:
    """Lower limit of a distribution."""
    if isinstance(number, (int, float)):
        return float(number)
    return number[0] if isinstance(number, tuple) else number.low


def largest(number: Number) -> float:
    """Upper limit of a distribution; infinite if it is not cut."""
    if isinstance(number, (int, float)):
        return float(number)
    return number[1] if isinstance(number, tuple) else number.high


FORMS: Mapping[frozenset[str], Any] = {
    frozenset({"mean", "spread"}): Normal,
    frozenset({"median", "spread"}): LogNormal,
    frozenset({"slope", "low", "high"}): PowerLaw,
}


def number_from(value: Any, name: str, scale: float = 1.0) -> Number:
    """Read a number or a distribution from the value in a file.

    Parameters
    ----------
    value : float, list of two, or dict
        A constant, ``[smallest, largest]``, or the fields of another distribution.
    name : str
        For messages.
    scale : float
        Unit of the file's values; slopes and the spread of a log-normal have none.

    Raises
    ------
    DataError
        If it is none of these.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) * scale
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return (float(value[0]) * scale, float(value[1]) * scale)
    if isinstance(value, Mapping):
        for needed, form in FORMS.items():
            if needed <= set(value) <= needed | {"low", "high"}:
                unscaled = {"slope"} | ({"spread"} if form is LogNormal else set())
                scales = {key: 1.0 if key in unscaled else scale for key in value}
                distribution: Number = form(
                    **{key: float(number) * scales[key] for key, number in value.items()}
                )
                return distribution
    raise DataError(
        f"{name} is a number, a pair [smallest, largest], or a table with mean and spread, median "
        f"and spread, or slope, low and high; got {value!r}"
    )


def look_up(kind: str, name: str, known: Mapping[str, Value]) -> Value:
    """Look `name` up in `known`; if it is missing, raise `DataError` with the nearest name."""
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"no {kind} called {name!r}{hint} (known: {', '.join(known)})")
    return known[name]


def _check_limits(distribution: Any, good: bool) -> None:
    if not good:
        raise DataError(f"nothing can be drawn from {distribution}")
