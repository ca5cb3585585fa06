"""Figures of an evaluation: one function each, of a theme and the numbers to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
    PercentFormatter,
    StrMethodFormatter,
)
from numpy.typing import NDArray

from lumpylens.report.bins import shared_bins
from lumpylens.report.style import LEGEND_INCHES, Theme, legend, new_axes
from lumpylens.results.calibration import Calibration
from lumpylens.results.metrics import FPRS, RocCurve

__all__ = [
    "CalibrationRates",
    "audit",
    "calibration",
    "distribution",
    "roc",
    "roc_low",
    "roc_parts",
    "training",
]

Array = NDArray[np.float64]


LEAST_WITHOUT_POWER = 0.01
"""Largest value of a linear axis below which the power of ten stands in the axis's label."""


def distribution(
    theme: Theme, values: Mapping[str, Array], label: str, threshold: tuple[str, float] | None
) -> Figure:
    """Draw histograms of one score by class, on shared bins.

    Parameters
    ----------
    theme : Theme
    values : dict of str to ndarray
        Finite values of ``normal`` and ``anomalous``.
    label : str
        What the values are, for the axis.
    threshold : (str, float), optional
        Text and position of a vertical line.
    """
    bins = shared_bins(values["normal"], values["anomalous"])
    edges = bins.edges
    figure, axes = new_axes(
        theme, label, "fraction of the class in each bin", top_inches=LEGEND_INCHES
    )
    lowest, highest = 1.0, 0.0
    for name, column in values.items():
        share = np.histogram(np.clip(column, edges[0], edges[-1]), edges)[0] / len(column)
        lowest, highest = min(lowest, share[share > 0].min()), max(highest, share.max())
        colour, text = theme.of(name), f"{name} ({len(column):,})"
        axes.stairs(share, edges, fill=True, color=colour, alpha=0.16)
        axes.stairs(share, edges, color=colour, linewidth=1.8, label=text)
    if bins.scale == "asinh":
        axes.set_xscale("asinh", linear_width=bins.width)
        axes.set_xticks(bins.round_numbers(), minor=False)
        axes.xaxis.set_major_formatter(FuncFormatter(power_of_ten))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xscale(bins.scale)
    if bins.scale == "linear" and 0 < abs(edges).max() < LEAST_WITHOUT_POWER:
        power = int(np.floor(np.log10(abs(edges).max())))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 10.0**power:g}"))
        axes.set_xlabel(f"{label} / $10^{{{power}}}$")
    if bins.scale == "log":
        powers = np.floor(np.log10(edges[-1])) - np.ceil(np.log10(edges[0]))
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if powers >= 2 else (1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(power_of_ten))
        axes.xaxis.set_minor_formatter(NullFormatter())
    if highest > READABLE_RANGE * lowest:
        axes.set_yscale("log")
        axes.set_ylim(lowest / 2, highest * 2)
    else:
        axes.set_ylim(0, highest * 1.08)
    axes.set_xlim(edges[0], edges[-1])
    if threshold is not None and edges[0] < threshold[1] < edges[-1]:
        axes.axvline(threshold[1], color=theme.ink, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            threshold[0],
            (threshold[1], 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            rotation=90,
            va="top",
            color=theme.ink,
            fontsize=8.5,
        )
    for count, x, side in ((bins.below, 0.01, "left"), (bins.above, 0.99, "right")):
        if count:
            axes.annotate(
                f"{count} beyond",
                (x, 0.03),
                xycoords="axes fraction",
                ha=side,
                color=theme.ink,
                fontsize=8.5,
            )
    legend(axes, theme)
    return figure


READABLE_RANGE = 100
"""Ratio of the tallest to the lowest filled bin above which counts are drawn on a log axis: on a
linear axis a lower bin would be less than a hundredth of the height, which is hardly a line."""


def power_of_ten(value: float, position: int | None = None) -> str:
    r"""Write a tick label: a plain number near 1, otherwise a power of ten.

    Examples
    --------
    >>> power_of_ten(0.02), power_of_ten(2e-05), power_of_ten(1e6)
    ('0.02', '$2{\\times}10^{-5}$', '$10^{6}$')
    """
    mantissa, _, power = f"{value:.6e}".partition("e")
    if -3 <= int(power) <= 3:
        return f"{value:g}"
    factor = "" if float(mantissa) == 1 else f"{float(mantissa):g}{{\\times}}"
    return f"${factor}10^{{{int(power)}}}$"


def roc(theme: Theme, curve: RocCurve) -> Figure:
    """Draw a ROC curve with its confidence band, both rates from 0 to 1."""
    figure, axes = _roc_axes(theme)
    grid = np.union1d(np.linspace(0, 1, 401), curve.fpr)
    _band(axes, theme, curve, grid)
    axes.plot(curve.fpr, curve.tpr, color=theme.accent, linewidth=2)
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    write_near(axes, (0.62, 0.62), "chance", (6, -6), color=theme.muted, va="top")
    axes.set_xlim(-0.01, 1)
    return figure


def roc_low(theme: Theme, curve: RocCurve) -> Figure:
    """Draw a ROC curve on a logarithmic axis, with the true-positive rates at `FPRS` marked."""
    figure, axes = _roc_axes(theme)
    first = max(1e-5, min(0.005, 0.5 / curve.n_normal))
    grid = np.union1d(np.geomspace(first, 1, 400), curve.fpr[curve.fpr >= first])
    _band(axes, theme, curve, grid)
    at = np.searchsorted(curve.fpr, grid, side="right") - 1
    axes.step(grid, curve.tpr[at], where="post", color=theme.accent, linewidth=2)
    axes.plot(grid, grid, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    for fpr in FPRS:
        rate = curve.tpr_at(fpr)
        errors = [[rate.value - rate.low], [rate.high - rate.value]]
        axes.errorbar(fpr, rate.value, errors, fmt="o", ms=5, lw=1.3, capsize=3, color=theme.ink)
        text, style = f"{rate.value:.3f}", {"color": theme.ink, "va": "top", "ha": "center"}
        if rate.high <= 0.9:
            write_near(axes, (fpr, rate.high), text, (0, 4), **style | {"va": "bottom"})
        elif rate.low >= 0.1:
            write_near(axes, (fpr, rate.low), text, (0, -4), **style)
        else:  # neither end leaves room between itself and the axis
            write_near(axes, (fpr, rate.value), text, (5, -4), **style | {"ha": "left"})
    axes.set_xscale("log")
    axes.set_xlim(first, 1)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    return figure


def roc_parts(theme: Theme, curves: Mapping[str, RocCurve], labels: Mapping[str, str]) -> Figure:
    """Draw the ROC curves of the images that the model learned from and of those it never saw."""
    figure, axes = _roc_axes(theme)
    looks = {"train": (theme.quiet, (0, (5, 2)), 1.8), "test": (theme.accent, "solid", 2.2)}
    for part, curve in curves.items():
        colour, dashes, width = looks[part]
        axes.plot(curve.fpr, curve.tpr, color=colour, ls=dashes, lw=width, label=labels[part])
    axes.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    axes.set_xlim(-0.01, 1)
    legend(axes, theme, loc="lower right")
    return figure


def write_near(
    axes: Axes, at: tuple[float, float], text: str, offset: tuple[float, float], **style: Any
) -> None:
    """Write a text `offset` points away from a place in the data's coordinates."""
    axes.annotate(text, at, xytext=offset, textcoords="offset points", fontsize=9, **style)


def _roc_axes(theme: Theme) -> tuple[Figure, Axes]:
    figure, axes = new_axes(theme, "false-positive rate", "true-positive rate")
    axes.set_ylim(0, 1.02)
    return figure, axes


def _band(axes: Axes, theme: Theme, curve: RocCurve, grid: Array) -> None:
    low, high = curve.band(grid)
    axes.fill_between(grid, low, high, color=theme.accent, alpha=0.2, linewidth=0)


def training(theme: Theme, history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw the losses by epoch, and mark the epoch whose weights were kept."""
    figure, axes = new_axes(theme, "epoch", "loss", top_inches=LEGEND_INCHES)
    epochs = [row.get("epoch", k) for k, row in enumerate(history, 1)]
    names = [name for name in history[0] if name.endswith("loss")]
    labels = {"train_loss": "training images", "val_loss": "validation images (normal)"}
    colours = iter((theme.quiet, theme.normal, theme.anomalous, theme.ink))
    values = []
    for name, colour in zip(names, colours, strict=False):
        losses = [row[name] for row in history]
        values += losses
        marker, label = ("o" if len(epochs) < 12 else None), labels.get(name, name)
        axes.plot(epochs, losses, color=colour, lw=1.8, marker=marker, ms=4, label=label)
    if min(values) > 0 and max(values) > 5 * min(values):
        axes.set_yscale("log")
    if "val_loss" in names:
        best = int(np.argmin([row["val_loss"] for row in history]))
        axes.axvline(epochs[best], color=theme.ink, linewidth=1, linestyle=(0, (4, 3)))
        at, text = (epochs[best], 0.97), f"kept: epoch {epochs[best]:g}"
        place = ("data", "axes fraction")
        write_near(axes, at, text, (-4, 0), color=theme.ink, xycoords=place, ha="right", va="top")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(axes, theme)
    return figure


def audit(theme: Theme, bars: Sequence[tuple[str, str, Mapping[str, float]]]) -> Figure:
    """Draw bars of the AUC that each number alone reaches.

    Parameters
    ----------
    theme : Theme
    bars : sequence of (kind, name, area)
        `kind` is ``score``, ``component`` or ``trivial``; `area` has ``auc``, ``auc_low`` and
        ``auc_high``. Those below 0.5 are mirrored: lower values separate the classes as
        well as higher ones do.
    """
    figure, axes = new_axes(
        theme,
        "AUC (below 0.5 mirrored)",
        "",
        height_inches=0.7 + 0.32 * len(bars),
        left_inches=0.25 + 0.082 * max(len(name) for _, name, _ in bars),
    )
    looks = {
        "score": (theme.accent, 1),
        "component": (theme.accent, 0.55),
        "trivial": (theme.quiet, 0.8),
    }
    for row, (kind, _, area) in enumerate(bars):
        value, low, high = mirrored(area)
        colour, alpha = looks[kind]
        axes.barh(row, value - 0.5, left=0.5, height=0.62, color=colour, alpha=alpha)
        axes.plot([low, high], [row, row], color=theme.ink, linewidth=1.4)
        write_near(axes, (high, row), f"{value:.3f}", (5, 0), color=theme.ink, va="center")
    axes.set_yticks(range(len(bars)), [name for _, name, _ in bars])
    axes.tick_params(axis="y", length=0, labelcolor=theme.ink, labelsize=9.5)
    axes.grid(visible=False, axis="y")
    axes.invert_yaxis()
    axes.set_xlim(0.5, 1.07)
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    return figure


def mirrored(area: Mapping[str, float]) -> tuple[float, float, float]:
    """AUC and its interval; one below 0.5 is replaced by 1 - AUC, and no end lies below 0.5."""
    value, low, high = area["auc"], area["auc_low"], area["auc_high"]
    if value < 0.5:
        value, low, high = 1 - value, 1 - high, 1 - low
    return value, max(low, 0.5), high


def calibration(theme: Theme, rates: CalibrationRates) -> Figure:
    """Draw the realised against the stated false-positive rate of unseen normal images."""
    figure, axes = new_axes(
        theme,
        "stated false-positive rate",
        "realised on unseen normal images",
        top_inches=LEGEND_INCHES,
    )
    floor = 0.5 / rates.n_normal
    low, high, realised = (
        np.maximum(values, floor) for values in (rates.low, rates.high, rates.realised)
    )
    label = "expected (95 %)"
    axes.fill_between(rates.stated, low, high, color=theme.quiet, alpha=0.25, lw=0, label=label)
    axes.plot(rates.stated, rates.stated, color=theme.muted, linewidth=1, linestyle=(0, (1, 2)))
    axes.plot(rates.stated, realised, color=theme.normal, linewidth=2, label="realised")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(rates.stated[0], 1)
    axes.set_ylim(floor, 1.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    legend(axes, theme)
    return figure


@dataclass(frozen=True)
class CalibrationRates:
    """Stated and realised false-positive rates of normal images, shape (k,).

    Attributes
    ----------
    stated, realised : ndarray
    low, high : ndarray
        Range of 95 % of the realised rates, where the images are like the calibration images.
    n_normal : int
    """

    stated: Array
    realised: Array
    low: Array
    high: Array
    n_normal: int

    @classmethod
    def of(cls, model: Calibration, p_values: Array) -> CalibrationRates:
        """Compare both rates at p-values that are evenly spread in the logarithm."""
        n = len(model)
        stated = np.unique(np.geomspace(1, n, 30).astype(int)) / (n + 1)
        expected = [model.expected_false_alarms(float(rate), len(p_values)) for rate in stated]
        low, high = np.array(expected, dtype=np.float64).T / len(p_values)
        realised = np.array([(p_values <= rate * (1 + 1e-12)).mean() for rate in stated])
        return cls(stated, realised, low, high, len(p_values))
