"""What a user should know of a fit before trusting it, in words."""

from __future__ import annotations

import math

from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.plausible import oddities

__all__ = ["remarks"]

UNSURE = 0.05
CLOSE_RIVAL = 30.0
"""Difference of -2 ln evidence below which two Einstein radii are as good: a factor of e^15 looks
safe, but the model is wrong by more than that."""

POOR = 1.5
"""chi2 per pixel on the arcs over that off the arcs."""

ARC, FAINT = 1.0, 20.0
"""Source light over noise that makes a pixel one of the arcs; and the total signal-to-noise ratio
below which the source is faint."""


def remarks(found: LensAnalysis) -> list[str]:
    """Reasons to doubt a fit; none for a good one."""
    lens, fitted = found.smooth.best.lens, found.smooth.best
    made = list(found.cutout.remarks)
    on, off, signal = arc_misfit(found)
    if on > POOR * max(off, 0.5):
        made.append(f"poor fit on the arcs: chi2 per pixel {on:.2f}, {off:.2f} elsewhere")
    if signal < FAINT:
        made.append(f"faint source: total signal-to-noise ratio {signal:.0f}")
    radius = math.exp(lens["log_einstein_radius"])
    close = [
        other
        for other, excess in found.smooth.rivals
        if excess < CLOSE_RIVAL and abs(other / radius - 1) > UNSURE
    ]
    if close:
        made.append(f"another Einstein radius fits almost as well: {close[0]:.2f} arcsec")
    if fitted.spread("log_einstein_radius") > UNSURE:
        made.append("Einstein radius uncertain by more than 5 %")
    made += oddities(lens)
    away_x, away_y = (lens[f"source_{axis}"] - lens[f"centre_{axis}"] for axis in "xy")
    if math.hypot(away_x, away_y) > radius:
        made.append("the source lies too far out to be imaged twice")
    return made


def arc_misfit(found: LensAnalysis) -> tuple[float, float, float]:
    """chi2 per pixel on and off the arcs, and the source's total signal-to-noise ratio."""
    lens, observation = found.smooth.best.lens, found.observation
    light = observation.see(lens.source_light[None])[0]
    arc = light > ARC
    squares = lens.linear.residual.square()
    on = float(squares[arc].mean()) if arc.any() else 0.0
    off = float(squares[~arc].mean()) if (~arc).any() else 0.0
    return on, off, float(light[arc].square().sum().sqrt())
