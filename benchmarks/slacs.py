"""Real lenses against published Einstein radii, and perturbers planted in them.

Run with ``python benchmarks/slacs.py DATA --out results``. DATA has one folder per lens and a table
``einstein_radius.csv``. It goes on where an earlier run stopped: fits are kept in
``slacs-fits.csv``, planted perturbers in ``slacs-planted.csv``. Pictures are ``slacs-planted.png``
and one of every flagged lens.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from published_evidences import scoreboard

from lumpylens import LensImages, fit
from lumpylens.files.processes import in_processes
from lumpylens.files.tables import read_columns, write_columns
from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import analyse
from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.inflation import model_error, p_value
from lumpylens.lenses.injection import radius_of_snr, recover, well_seen_positions
from lumpylens.lenses.pictures import pictures_of
from lumpylens.lenses.verdict import CANDIDATE_P
from lumpylens.report.lens_figure import draw_lens_figure
from lumpylens.report.style import LIGHT

SIE_RADII = {
    "J0330-0020": 1.10, "J0728+3835": 1.25, "J0737+3216": 1.00, "J0822+2652": 1.17,
    "J0935-0003": 0.87, "J0956+5100": 1.33, "J0959+4416": 0.96, "J1016+3859": 1.09,
    "J1023+4230": 1.41, "J1106+5228": 1.23, "J1112+0826": 1.49, "J1134+6027": 1.10,
    "J1416+5136": 1.37, "J1443+0304": 0.81, "J1531-0105": 1.71, "J1621+3931": 1.29,
    "J1627-0053": 1.23, "J2238-0754": 1.27, "J2341+0000": 1.44,
}  # fmt: skip
"""Einstein radii in arcsec that the survey's own team measured (Auger et al. 2009,
arXiv:0911.2471, after Bolton et al. 2008, arXiv:0805.1931): a second, independent reference."""

PIXEL_SCALE_ARCSEC = 0.05
"""Of the camera; the files do not say."""

PLANTED_SNR = (6.0, 10.0, 14.0, 20.0)
"""Signal-to-noise ratios, after inflation, that planted perturbers are predicted to have."""

RINGS = (0.0, 0.8, 1.2, 2.5)
"""Distances from the lens, in Einstein radii, between which recovery is given."""

STRONG_SNR = 10.0
NEAR_ARCSEC = 0.15


@dataclass(frozen=True)
class Planted:
    """One planted perturber and what was found of it."""

    id: str
    x: float
    y: float
    einstein_radius: float
    predicted: float
    log_evidence: float
    distance: float
    found_einstein_radius: float
    digest: str
    """Of the lens's own fit: a lens that is fitted otherwise is planted in again."""


def opened(data: Path) -> LensImages:
    """The images of the survey."""
    return LensImages.open(data, pixel_scale_arcsec=PIXEL_SCALE_ARCSEC)


def published(data: Path) -> dict[str, float]:
    """Einstein radii in arcsec by lens."""
    with (data / "einstein_radius.csv").open(newline="") as stream:
        return {row["lens_name"]: float(row["thetaE_lens_m"]) for row in csv.DictReader(stream)}


@dataclass(frozen=True)
class Planting:
    """Perturbers to plant in one lens."""

    data: Path
    position: int
    row: LensRow
    per_lens: int
    seed: int


def plant(tasks: Sequence[Planting], out: Path, workers: int) -> None:
    """Plant perturbers in every lens that has none yet, and append what was found."""
    wanted = {task.row.digest for task in tasks}
    done = [one for one in planted_in(out) if one.digest in wanted]
    had = {one.digest for one in done}
    left = [task for task in tasks if task.row.digest not in had]
    with in_processes(plant_in_one, left, workers) as results:
        for _, found in results:
            done += found
            columns = {
                one.name: [getattr(each, one.name) for each in done] for one in fields(Planted)
            }
            write_columns(columns, out)


def plant_in_one(task: Planting) -> list[Planted]:
    """Plant perturbers in one lens."""
    found = analyse(cutout_of(opened(task.data)[task.position]))
    generator = torch.Generator().manual_seed(task.seed + task.position)
    planted = []
    for number, (x, y) in enumerate(well_seen_positions(found, task.per_lens, generator)):
        wanted = PLANTED_SNR[(task.position + number) % len(PLANTED_SNR)]
        radius = radius_of_snr(found, x, y, wanted * task.row.inflation)
        made = recover(found, x, y, radius)
        planted.append(
            Planted(
                task.row.id, x, y, made.einstein_radius, made.predicted_snr / task.row.inflation,
                made.fitted.log_evidence, made.distance, made.fitted.einstein_radius,
                task.row.digest,
            )
        )  # fmt: skip
    return planted


def planted_in(path: Path) -> list[Planted]:
    """What an earlier run planted."""
    if not path.is_file():
        return []
    columns = read_columns(path, text=("id", "digest"))
    if list(columns) != [one.name for one in fields(Planted)]:
        return []
    return [Planted(*values) for values in zip(*columns.values(), strict=True)]


def corrected(log_evidence: float, inflation: float) -> float:
    """Significance of a gain in log evidence after inflation."""
    return math.sqrt(2 * max(log_evidence, 0)) / inflation


@dataclass(frozen=True)
class Flags:
    """Which lenses stand out, each by a threshold that the others set.

    Attributes
    ----------
    strength : dict of str to float
        Corrected significance of each lens's perturber.
    limit : dict of str to float
        Largest significance among the other trusted lenses.
    names : list of str
        Trusted lenses above their limits.
    """

    strength: dict[str, float]
    limit: dict[str, float]
    names: list[str]


def flags_of(good: Sequence[LensRow]) -> Flags:
    """Thresholds from all lenses but one, for each."""
    strength = {row.id: corrected(row.perturber_log_evidence, row.inflation) for row in good}
    trusted = [row.id for row in good if row.trusted]
    limit = {
        row.id: max((strength[n] for n in trusted if n != row.id), default=math.inf) for row in good
    }
    return Flags(strength, limit, sorted(n for n in trusted if strength[n] > limit[n]))


def report(data: Path, rows: Sequence[LensRow], planted: Sequence[Planted]) -> str:
    """The page of results."""
    truth = published(data)
    good = [row for row in rows if not row.error]
    flags = flags_of(good)
    off = {row.id: row.einstein_radius_arcsec / truth[row.id] - 1 for row in good}
    apart = np.abs(list(off.values()))
    trusted = {row.id for row in good if row.trusted}
    sure = np.abs([off[name] for name in trusted])
    twice = [row for row in good if row.id in SIE_RADII]
    second = np.abs([row.einstein_radius_arcsec / SIE_RADII[row.id] - 1 for row in twice])
    between = np.abs([truth[row.id] / SIE_RADII[row.id] - 1 for row in twice])
    low_p = [row.id for row in good if row.perturber_p_value < CANDIDATE_P]
    lines = [
        "# Real lenses of the SLACS survey",
        "",
        "Made by `make slacs DATA=folder`, which runs `benchmarks/slacs.py`: the default fit of "
        f"{len(rows)} lenses (HST/ACS F814W, 0.05 arcsec per pixel) with the noise maps, PSFs and "
        "Einstein radii published with arXiv:2503.08586. Nothing is tuned per lens.",
        "",
        "## Einstein radii",
        "",
        f"* Fitted: {len(good)} of {len(rows)}.",
        f"* Against the published ones: median difference {np.median(apart):.1%}; "
        f"{np.count_nonzero(apart < 0.05)} of {len(apart)} within 5 %, "
        f"{np.count_nonzero(apart < 0.1)} within 10 %.",
        f"* Of the {len(second)} lenses that the survey's team measured too (Auger et al. 2009): "
        f"median {np.median(second):.1%}, {np.count_nonzero(second < 0.05)} within 5 %, "
        f"{np.count_nonzero(second < 0.1)} within 10 %. The two published sets differ from each "
        f"other by {np.median(between):.1%} in the median; {np.count_nonzero(between < 0.05)} of "
        f"{len(between)} agree within 5 %.",
        f"* Of the {len(trusted)} fits that the software itself does not doubt: median "
        f"{np.median(sure) if len(sure) else math.nan:.1%}, {np.count_nonzero(sure < 0.05)} within "
        "5 %.",
        "",
        "| lens | published | Auger 2009 | fitted | difference | chi2/pixel | log evidence | "
        "with multipoles | corrected sigma | p-value | seconds | quality |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.error:
            lines.append(f"| {row.id} | {truth[row.id]:.3f} |" + "  |" * 10 + f" {row.error} |")
            continue
        chance = f"{row.perturber_p_value:.2g}" if row.trusted else ""
        lines.append(
            f"| {row.id} | {truth[row.id]:.3f} | {SIE_RADII.get(row.id, '')} | "
            f"{row.einstein_radius_arcsec:.3f} | "
            f"{off[row.id]:+.1%} | {row.chi2_per_pixel:.2f} | {row.perturber_log_evidence:.0f} | "
            f"{row.perturber_log_evidence_multipoles:.0f} | {flags.strength[row.id]:.1f} | "
            f"{chance} | {row.seconds:.0f} | {row.quality} |"
        )
    median = {one: np.median([getattr(row, one) for row in good]) for one in STAGES}
    lines += [
        "",
        "## False alarms",
        "",
        "The corrected significance is sqrt(2 log evidence) divided by the inflation. The "
        "threshold for each lens is the largest among the others that are not in doubt, so one "
        f"lens always exceeds its own. Exceeding it: {', '.join(flags.names) or 'none'}. "
        f"With p-value below {CANDIDATE_P:g}: {', '.join(low_p) or 'none'}.",
        f"Model error learned from all lenses not in doubt: {model_error(good):.2f}.",
        "",
    ]
    by_name = {row.id: row for row in good}
    for name in flags.names:
        lines += flag_lines(by_name[name], flags)
    lines += ["## Beside published evidences", "", *scoreboard(rows), ""]
    lines += ["## Planted perturbers", ""]
    lines += planted_lines(planted, by_name, flags.limit)
    lines += [
        "",
        "## Time",
        "",
        "Seconds of one core, median over lenses: "
        + ", ".join(f"{one.removeprefix('seconds_')} {median[one]:.1f}" for one in STAGES)
        + f"; in all {np.median([row.seconds for row in good]):.1f}, at most "
        f"{max(row.seconds for row in good):.1f}.",
        "",
    ]
    return "\n".join(lines)


STAGES = tuple(f"seconds_{s}" for s in ("smooth", "filter", "noise", "perturber", "multipoles"))


def flag_lines(row: LensRow, flags: Flags) -> list[str]:
    """What a flagged lens shows."""
    return [
        f"{row.id}: a mass of Einstein radius {row.perturber_einstein_radius_arcsec:.2f} arcsec at "
        f"({row.perturber_x_arcsec:+.2f}, {row.perturber_y_arcsec:+.2f}) arcsec from the lens "
        f"raises the log evidence by {row.perturber_log_evidence:.0f}, and by "
        f"{row.perturber_log_evidence_multipoles:.0f} where multipoles of the halo can do it; "
        f"{flags.strength[row.id]:.1f} against a limit of {flags.limit[row.id]:.1f}, "
        f"p = {row.perturber_p_value:.2g}.",
        "",
        f"![Data, smooth model, residual, source and maps of {row.id}](slacs-{row.id}.png)",
        "",
    ]


def draw_flagged(data: Path, rows: Sequence[LensRow], out: Path) -> None:
    """A picture of every flagged lens."""
    images = opened(data)
    good = [row for row in rows if not row.error]
    for name in flags_of(good).names:
        position = next(k for k, row in enumerate(rows) if row.id == name)
        found = analyse(cutout_of(images[position]))
        with whole_file(out / f"slacs-{name}.png") as beside:
            draw_lens_figure(LIGHT, pictures_of(found)).savefig(beside, dpi=70, format="png")


@dataclass(frozen=True)
class Recovery:
    """What became of one planted perturber, and where it is in Einstein radii of its lens."""

    planted: Planted
    x: float
    y: float
    flagged: bool
    low_p: bool

    @property
    def ring(self) -> float:
        """Distance from the lens."""
        return math.hypot(self.x, self.y)

    @property
    def placed(self) -> bool:
        """Found where it was planted."""
        return self.planted.distance < NEAR_ARCSEC


def recovered(
    planted: Sequence[Planted], rows: dict[str, LensRow], limit: dict[str, float]
) -> list[Recovery]:
    """Judge every planted perturber as its lens was judged."""
    made = []
    for one in planted:
        row = rows[one.id]
        significance = corrected(one.log_evidence, row.inflation)
        chance = p_value(significance, (row.noise_maximum, row.noise_maximum_scale))
        x, y = one.x / row.einstein_radius_arcsec, one.y / row.einstein_radius_arcsec
        made.append(Recovery(one, x, y, significance > limit[one.id], chance < CANDIDATE_P))
    return made


def recovery_row(name: str, some: Sequence[Recovery]) -> str:
    """One line of a table of recovery."""
    ratio = [(r.planted.found_einstein_radius / r.planted.einstein_radius) ** 2 for r in some]
    return (
        f"| {name} | {len(some)} | {sum(r.flagged for r in some)} | {sum(r.low_p for r in some)} | "
        f"{sum(r.placed for r in some)} | {np.median([r.planted.distance for r in some]):.2f} | "
        f"{np.median([r.planted.einstein_radius for r in some]):.2f} | {np.median(ratio):.2f} |"
    )


RECOVERY_HEAD = (
    "| {} | planted | flagged | p < 0.01 | placed | median distance | median Einstein radius | "
    "median strength found / planted |",
    "|---|---|---|---|---|---|---|---|",
)


def planted_lines(
    planted: Sequence[Planted], rows: dict[str, LensRow], limit: dict[str, float]
) -> list[str]:
    """Recovery of planted perturbers by what the sensitivity map predicts, and by place."""
    if not planted:
        return ["None were planted."]
    all_of_them = recovered(planted, rows, limit)
    strong = [one for one in all_of_them if one.planted.predicted > STRONG_SNR - 0.5]
    lines = [
        "A point mass deflects the fitted source in the real image; smooth fit, filter and "
        "explicit fit follow as for any lens. Its mass is such that the lens's sensitivity map "
        "predicts the signal-to-noise ratio in the first column, model error divided out. Flagged: "
        f"above the lens's threshold, see above. Placed: within {NEAR_ARCSEC:g} arcsec.",
        "",
        f"Of the {len(strong)} with a predicted {STRONG_SNR:g} or more, "
        f"{sum(one.flagged for one in strong)} are flagged and {sum(one.placed for one in strong)} "
        "placed.",
        "",
        RECOVERY_HEAD[0].format("predicted"),
        RECOVERY_HEAD[1],
    ]
    for value in PLANTED_SNR:
        some = [one for one in all_of_them if abs(one.planted.predicted - value) < 0.5]
        if some:
            lines.append(recovery_row(f"{value:g}", some))
    lines += ["", RECOVERY_HEAD[0].format("distance, Einstein radii"), RECOVERY_HEAD[1]]
    for low, high in itertools.pairwise(RINGS):
        some = [one for one in all_of_them if low <= one.ring < high]
        if some:
            lines.append(recovery_row(f"{low:g} to {high:g}", some))
    return [*lines, "", "![Places of planted masses, and their strengths](slacs-planted.png)"]


def draw_planted(made: Sequence[Recovery], path: Path) -> None:
    """Where masses were planted and found, and how strong they were found to be."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator

    figure = Figure(figsize=(9, 4), layout="constrained")
    places, strengths = figure.subplots(1, 2)
    turn = np.linspace(0, 2 * math.pi, 200)
    places.plot(np.cos(turn), np.sin(turn), color="0.7", linewidth=1)
    for placed, colour, words in ((True, "tab:blue", "placed"), (False, "tab:red", "misplaced")):
        some = [one for one in made if one.placed == placed]
        size = [6 * one.planted.predicted for one in some]
        places.scatter([one.x for one in some], [one.y for one in some], size,
                       color=colour, alpha=0.6, label=words)  # fmt: skip
        found = [one.planted.found_einstein_radius for one in some]
        strengths.scatter([one.planted.einstein_radius for one in some], found, size,
                          color=colour, alpha=0.6)  # fmt: skip
    places.set(xlabel="x, Einstein radii", ylabel="y, Einstein radii", aspect="equal",
               title="where masses were planted")  # fmt: skip
    places.legend(fontsize=8)
    low, high = 0.04, 0.7
    strengths.plot([low, high], [low, high], color="0.7", linewidth=1)
    strengths.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high),
                  xlabel="Einstein radius planted, arcsec", ylabel="found, arcsec",
                  title="how heavy they were found to be")  # fmt: skip
    for axis in (strengths.xaxis, strengths.yaxis):
        axis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.5]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    with whole_file(path) as beside:
        figure.savefig(beside, dpi=90, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--planted", type=int, default=3, help="perturbers per lens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    rows = fit(
        opened(options.data), out=options.out / "slacs-fits.csv", workers=options.workers,
        figures=options.figures, seed=options.seed,
    )  # fmt: skip
    place = options.out / "slacs-planted.csv"
    if options.planted:
        tasks = [
            Planting(options.data, position, row, options.planted, options.seed)
            for position, row in enumerate(rows)
            if not row.error and row.trusted
        ]
        plant(tasks, place, options.workers)
    done, good = planted_in(place), [row for row in rows if not row.error]
    if done:
        limit = flags_of(good).limit
        draw_planted(
            recovered(done, {row.id: row for row in good}, limit), options.out / "slacs-planted.png"
        )
    draw_flagged(options.data, rows, options.out)
    with whole_file(options.out / "slacs.md") as beside:
        beside.write_text(report(options.data, rows, done), encoding="utf-8")
    print((options.out / "slacs.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    # Other processes find functions by the name of their module, which is not that of a script.
    from slacs import main as main_of_module

    main_of_module()
