"""What a user should know of a fit before trusting it."""

from __future__ import annotations

import math

from lumpylens.lenses.analysis import SmoothLens
from lumpylens.lenses.cutout import LEAST_REACH
from lumpylens.lenses.plausible import APART, light_from_mass, oddities, source_distance
from lumpylens.lenses.remarks import Note, Remark
from lumpylens.lenses.starts import FARTHEST

__all__ = ["remarks"]

UNSURE = 0.05
"""Relative error of an Einstein radius, and relative distance of another, that count. In 24
lenses of the SLACS survey the errors are 0.001 to 0.017."""

CLOSE_RIVAL = 30.0
"""Difference of -2 ln evidence below which two Einstein radii are as good: a factor of e^15 looks
safe, but the model is wrong by more than that. In 6 of the 24
lenses there is such a rival."""

POOR = 1.5
"""chi2 per pixel on the arcs over that off the arcs. One of the 24 lenses has more, 1.9."""

USUAL_CHI2 = (0.2, 2.0)
"""chi2 per pixel of fits that are not doubted for it: 0.39 to 0.61 in 24 drizzled lenses."""

ARC, FAINT = 1.0, 20.0
"""Source light over noise that makes a pixel one of the arcs; and the total signal-to-noise ratio
below which the source is faint. Not tuned."""


def remarks(analysis: SmoothLens) -> list[Note]:
    """Notes on what a user should know of a fit; none on a good one."""
    cutout, lens = analysis.cutout, analysis.reported.lens
    notes = list(cutout.notes)
    if cutout.reach_arcsec < LEAST_REACH:
        notes.append(Note(Remark.SMALL_CUTOUT, (cutout.reach_arcsec, LEAST_REACH)))
    off_centre = math.hypot(lens["light_x"], lens["light_y"])
    if off_centre > FARTHEST:
        notes.append(Note(Remark.OFF_CENTRE, (off_centre, FARTHEST)))
    if not USUAL_CHI2[0] <= analysis.chi2_per_pixel <= USUAL_CHI2[1]:
        notes.append(Note(Remark.FAR_CHI2, (analysis.chi2_per_pixel,)))
    arc_chi2, sky_chi2, signal = arc_misfit(analysis)
    if arc_chi2 > POOR * max(sky_chi2, 0.5):
        notes.append(Note(Remark.POOR_FIT, (arc_chi2, sky_chi2)))
    if signal < FAINT:
        notes.append(Note(Remark.FAINT_SOURCE, (signal,)))
    radius = math.exp(lens["log_einstein_radius"])
    close = [
        rival
        for rival, excess in analysis.smooth.rivals
        if excess < CLOSE_RIVAL and abs(rival / radius - 1) > UNSURE
    ]
    if close:
        notes.append(Note(Remark.RIVAL_RADIUS, (close[0],)))
    if not analysis.converged:
        notes.append(Note(Remark.NOT_CONVERGED))
    if analysis.radius_error > UNSURE:
        notes.append(Note(Remark.UNCERTAIN_RADIUS, (UNSURE,)))
    notes += oddities(lens)
    if not analysis.smooth.shines:
        notes.append(Note(Remark.NO_LENS_LIGHT))
    elif (apart := light_from_mass(lens)) > APART:
        notes.append(Note(Remark.MASS_APART, (apart,)))
    if source_distance(lens) > 1:
        notes.append(Note(Remark.FAR_SOURCE))
    return notes


def arc_misfit(analysis: SmoothLens) -> tuple[float, float, float]:
    """chi2 per pixel on and off the arcs, and the source's total signal-to-noise ratio."""
    lens, observation = analysis.reported.lens, analysis.observation
    light = observation.see(lens.source_light[None])[0]
    arc = light > ARC
    squares = lens.linear.residual.square()
    arc_chi2 = float(squares[arc].mean()) if arc.any() else 0.0
    sky_chi2 = float(squares[~arc].mean()) if (~arc).any() else 0.0
    return arc_chi2, sky_chi2, float(light[arc].square().sum().sqrt())
