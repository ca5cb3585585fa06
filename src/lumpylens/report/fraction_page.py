"""Page and figures of the fraction of mass in substructure of a set of lenses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from lumpylens.files.writing import whole_file
from lumpylens.fraction.likeness import WHAT
from lumpylens.fraction.posterior import LEVELS
from lumpylens.fraction.result import SubstructureFraction
from lumpylens.report.comparison_page import embedded
from lumpylens.report.fraction_figure import draw_compared, draw_posterior, write_figure
from lumpylens.report.page import environment
from lumpylens.report.place import PAGE
from lumpylens.report.style import LIGHT, Theme

__all__ = ["write_fraction_page"]

POWER, RESIDUAL = 0, 3
"""Columns of what is compared that are drawn."""


def write_fraction_page(
    found: SubstructureFraction, folder: Path, *, posterior: str, compared: str
) -> None:
    """Write ``report.html``, which needs no other file, and two of its figures as PNG.

    Parameters
    ----------
    found : SubstructureFraction
    folder : Path
        An existing one.
    posterior, compared : str
        Names of the files of the posterior and of the set beside simulated lenses.
    """
    drawn = _figures(found)
    for name, file in (("posterior", posterior), ("power", compared)):
        if name in drawn:
            write_figure(drawn[name](LIGHT), folder / file)
    reasons: dict[str, int] = {}
    for reason in filter(None, found.reason):
        reasons[reason] = reasons.get(reason, 0) + 1
    page = (
        environment()
        .get_template("fraction.html.j2")
        .render(
            r=found,
            numbers=found.to_dict(),
            sentences=repr(found).splitlines(),
            reasons=sorted(reasons.items(), key=lambda item: -item[1]),
            figures={name: embedded(draw) for name, draw in drawn.items()},
        )
    )
    with whole_file(folder / PAGE) as part_file:
        part_file.write_text(page, encoding="utf-8")


def _figures(found: SubstructureFraction) -> dict[str, Callable[[Theme], Figure]]:
    drawn: dict[str, Callable[[Theme], Figure]] = {}
    if (curve := found.posterior) is not None:
        intervals = [found.interval(level) for level in LEVELS]
        drawn["posterior"] = lambda theme: draw_posterior(
            theme, curve.fraction, curve.density, intervals
        )
    if (likeness := found.likeness) is not None:
        for name, column in (("power", POWER), ("residual", RESIDUAL)):
            drawn[name] = partial(
                draw_compared,
                observed=likeness.observed[:, column],
                simulated=likeness.simulated[:, column],
                words=f"{WHAT[column]}, standard deviations",
            )
    return drawn
