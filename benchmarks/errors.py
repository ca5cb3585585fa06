"""How often the truth lies within the errors that `lumpylens fit` gives, on mock lenses.

    python benchmarks/errors.py --lenses 100 --perturbed 40 --out results

Mocks are drawn from a stated prior and made with lenstronomy (see `mock_lenses`), and fitted with
the defaults. For every number with an error, the share of truths within one and two errors is
counted. Half of the lenses are smooth; the others have a planted perturber, and are compared with
the lens that was fitted together with it. Rows that an earlier run fitted are kept in
``OUT/runs/errors-*.csv``. Writes ``errors.md`` and ``errors.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mock_lenses import PRIOR, MockLens, draw_lens, fit_mocks
from scipy.stats import binomtest

from lumpylens.files.writing import whole_file
from lumpylens.lenses.catalogue import LensRow

SEEN_GAIN = 20.0
"""Gain in log evidence from which a planted perturber counts as seen: its place means nothing
otherwise."""

NEAR_ARCSEC = 0.3
"""Distance from the planted perturber within which one was found, and not another."""


@dataclass(frozen=True)
class Number:
    """A number of the catalogue that has an error.

    Attributes
    ----------
    column, error : str
    truth : callable
        From the truth of a mock to what the column should be.
    turns : bool
        Whether it is a direction, which is the same after half a turn.
    """

    column: str
    error: str
    truth: Callable[[dict[str, float]], float]
    turns: bool = False

    def pull(self, row: LensRow, truth: dict[str, float]) -> float:
        """Distance of the fitted number from the truth, in units of its error."""
        apart = getattr(row, self.column) - self.truth(truth)
        if self.turns:
            apart = (apart + 90) % 180 - 90
        return float(apart / getattr(row, self.error))


def of(name: str) -> Callable[[dict[str, float]], float]:
    """The truth of that name."""
    return lambda truth: truth[name]


def size(kind: str) -> Callable[[dict[str, float]], float]:
    """Size of a pair of components."""
    return lambda truth: math.hypot(truth[f"{kind}_1"], truth[f"{kind}_2"])


def angle_deg(kind: str) -> Callable[[dict[str, float]], float]:
    """Direction of a pair of components, degrees."""
    return lambda truth: math.degrees(math.atan2(truth[f"{kind}_2"], truth[f"{kind}_1"])) / 2


def numbers_of_mass(joint: bool) -> list[Number]:
    """Numbers of the mass: of the lens alone, or of the one fitted with the perturber."""
    p = "joint_" if joint else ""
    radius_error = "joint_einstein_radius_error_arcsec" if joint else "einstein_radius_err"
    return [
        Number(
            f"{p}einstein_radius_arcsec", radius_error,
            lambda truth: math.exp(truth["log_einstein_radius"]),
        ),
        Number(f"{p}slope", f"{p}slope_error", of("slope")),
        Number(
            f"{p}ellipticity", f"{p}ellipticity_error",
            lambda truth: 1 - math.exp(-size("eta")(truth)),
        ),
        Number(
            f"{p}ellipticity_angle_deg", f"{p}ellipticity_angle_error_deg", angle_deg("eta"), True
        ),
        Number(f"{p}shear", f"{p}shear_error", size("shear")),
        Number(f"{p}shear_angle_deg", f"{p}shear_angle_error_deg", angle_deg("shear"), True),
        Number(f"{p}mass_x_arcsec", f"{p}mass_x_error_arcsec", of("centre_x")),
        Number(f"{p}mass_y_arcsec", f"{p}mass_y_error_arcsec", of("centre_y")),
        *(
            Number(f"{p}{name}", f"{p}{name}_error", of(name))
            for name in ("m3_cosine", "m3_sine", "m4_cosine", "m4_sine")
        ),
    ]  # fmt: skip


SMOOTH = [
    *numbers_of_mass(joint=False),
    Number("centre_x_arcsec", "centre_x_error_arcsec", lambda truth: 0.0),
    Number("centre_y_arcsec", "centre_y_error_arcsec", lambda truth: 0.0),
]

PERTURBED = [
    Number("perturber_x_arcsec", "perturber_x_error_arcsec", of("perturber_x")),
    Number("perturber_y_arcsec", "perturber_y_error_arcsec", of("perturber_y")),
    Number(
        "perturber_einstein_radius_arcsec", "perturber_einstein_radius_error_arcsec",
        of("perturber_einstein_radius"),
    ),
    *numbers_of_mass(joint=True),
]  # fmt: skip


def coverage(numbers: Sequence[Number], rows: Sequence[tuple[LensRow, MockLens]]) -> list[Any]:
    """Shares of truths within one and two errors of each number, and of all numbers together."""
    pulls = {
        number.column: np.array([number.pull(row, mock.truth) for row, mock in rows])
        for number in numbers
    }
    pulls["all of them"] = np.concatenate(list(pulls.values()))
    told = []
    for name, values in pulls.items():
        known = values[np.isfinite(values)]
        entry: dict[str, Any] = {"number": name, "lenses": len(known)}
        for within in (1, 2):
            inside = int(np.count_nonzero(np.abs(known) <= within))
            # Numbers of one lens are not independent: the interval of all is that of the lenses.
            trials = len(rows) if name == "all of them" else len(known)
            share = inside / max(len(known), 1)
            interval = binomtest(round(share * trials), max(trials, 1)).proportion_ci(
                method="wilson"
            )
            entry[f"within {within}"] = [share, interval.low, interval.high]
        entry["median pull"] = float(np.median(known)) if len(known) else math.nan
        entry["rms pull"] = float(np.sqrt(np.mean(known**2))) if len(known) else math.nan
        told.append(entry)
    return told


def seen(row: LensRow, mock: MockLens) -> bool:
    """Whether a fit found the planted perturber, by its gain and roughly its place."""
    apart = math.hypot(
        row.perturber_x_arcsec - mock.truth["perturber_x"],
        row.perturber_y_arcsec - mock.truth["perturber_y"],
    )
    return row.perturber_log_evidence > SEEN_GAIN and apart < NEAR_ARCSEC


def summary(rows: Sequence[LensRow]) -> dict[str, Any]:
    """How many fits there are, how many are doubted, and their times."""
    fitted = [row for row in rows if not row.error]
    doubts = sorted(code for row in fitted for code in row.doubts.split())
    return {
        "mocks": len(rows),
        "failed": len(rows) - len(fitted),
        "in doubt": sum(bool(row.doubts) for row in fitted),
        "doubts": {code: doubts.count(code) for code in dict.fromkeys(doubts)},
        "mostly prior": {
            name: sum(name in row.mostly_prior.split() for row in fitted)
            for name in sorted({n for row in fitted for n in row.mostly_prior.split()})
        },
        "inflation, median": float(np.median([row.error_inflation for row in fitted])),
        "seconds, median": float(np.median([row.seconds for row in fitted])),
        "seconds of the last fits, median": float(
            np.median([row.seconds_errors for row in fitted])
        ),
    }


def table(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "| number | lenses | within 1 error | within 2 errors | median pull | rms pull |",
        "|---|---|---|---|---|---|",
    ]
    for entry in entries:
        shares = (
            "{:.0%} ({:.0%} to {:.0%})".format(*entry[f"within {within}"]) for within in (1, 2)
        )
        lines.append(
            f"| {entry['number']} | {entry['lenses']} | {' | '.join(shares)} | "
            f"{entry['median pull']:+.2f} | {entry['rms pull']:.2f} |"
        )
    return lines


def page(results: dict[str, Any]) -> str:
    """The page of results."""
    lines = ["# Errors of `lumpylens fit` on mock lenses", "", f"Made by `{results['command']}`."]
    lines += ["", f"Truths are drawn from: {PRIOR}.", ""]
    for title, part in (("Smooth lenses", "smooth"), ("With a planted perturber", "perturbed")):
        if part not in results:
            continue
        found = results[part]
        lines += [f"## {title}", ""]
        lines += [f"* {key}: {value}" for key, value in found["fits"].items()]
        lines += ["", f"The {found['counted']} fits {found['which']}:", ""]
        lines += [*table(found["numbers"]), ""]
    return "\n".join(lines)


def results_of(options: argparse.Namespace) -> dict[str, Any]:
    """Fit the mocks, and count."""
    results: dict[str, Any] = {
        "command": "python " + " ".join(["benchmarks/errors.py", *sys.argv[1:]])
    }
    runs = options.out / "runs"
    smooth = [draw_lens(k, options.seed) for k in range(options.lenses)]
    rows = fit_mocks(smooth, runs / "errors-smooth.csv", options.workers)
    trusted = [(row, mock) for row, mock in zip(rows, smooth, strict=True) if row.trusted]
    results["smooth"] = {
        "fits": summary(rows), "counted": len(trusted), "which": "that are not in doubt",
        "numbers": coverage(SMOOTH, trusted),
    }  # fmt: skip
    if options.perturbed:
        lumpy = [draw_lens(k, options.seed, perturbed=True) for k in range(options.perturbed)]
        rows = fit_mocks(lumpy, runs / "errors-perturbed.csv", options.workers)
        found = [
            (row, mock)
            for row, mock in zip(rows, lumpy, strict=True)
            if not row.error and seen(row, mock)
        ]
        results["perturbed"] = {
            "fits": summary(rows), "counted": len(found),
            "which": f"in which it is found: a gain in log evidence above {SEEN_GAIN:g}, and "
            f"within {NEAR_ARCSEC:g} arcsec",
            "numbers": coverage(PERTURBED, found),
        }  # fmt: skip
    return results


def main() -> None:
    """Measure, and write and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenses", type=int, default=100, help="smooth mocks")
    parser.add_argument("--perturbed", type=int, default=40, help="mocks with a perturber")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    results = results_of(options := parser.parse_args())
    for name, text in (
        ("errors.json", json.dumps(results, indent=1) + "\n"),
        ("errors.md", page(results)),
    ):
        with whole_file(options.out / name) as part_file:
            part_file.write_text(text, encoding="utf-8")
    print(page(results))


if __name__ == "__main__":
    main()
