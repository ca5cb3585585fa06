"""What `lumpylens fit` says of lenses whose mass is no power law, with and without a subhalo.

    python benchmarks/competing_masses.py --out results

Mock lenses are drawn from the prior of `mock_lenses`, with the power law replaced by stars that
follow the light and a dark halo, and fitted with the defaults. Point masses are planted in the same
lenses. Rows that an earlier run fitted are kept in ``OUT/runs/competing-masses-*.csv``. Writes
``competing-masses.md``.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from pathlib import Path

from mock_lenses import PRIOR, STARS_PRIOR, Planted, draw_lens, fit_mocks

from lumpylens.files.writing import whole_file
from lumpylens.lenses.catalogue import LensRow, p_words
from lumpylens.lenses.verdict import status_of

POINT_ARCSEC = 0.12
"""Einstein radius of the point masses."""

KINDS = {
    "nothing": None,
    "point mass": Planted(("POINT_MASS",), ({"theta_E": POINT_ARCSEC},)),
}
"""What is planted, by its name in the table."""


def number(value: float, form: str = ".0f") -> str:
    """A number for the table, empty if there is none."""
    return "" if math.isnan(value) else f"{value:{form}}"


def line(kind: str, row: LensRow, truth: dict[str, float]) -> str:
    """One line of the table."""
    cells = (
        kind, row.id, status_of(row).value, number(row.perturber_log_evidence),
        number(row.perturber_log_evidence_multipoles),
        number(row.perturber_log_evidence_stars_halo),
        number(row.perturber_log_evidence_broken_power_law), p_words(row.perturber_p_value),
        p_words(row.perturber_p_value_any_mass), number(row.stars_halo_log_evidence),
        f"{truth['stellar_fraction']:.2f}", number(row.stellar_fraction, ".2f"),
        number(row.seconds_masses), number(row.seconds),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def page(options: argparse.Namespace) -> str:
    """Fit the mocks of each kind, and make the page of results."""
    command = "python " + shlex.join(["benchmarks/competing_masses.py", *sys.argv[1:]])
    lines = [
        "# Lenses whose mass is no power law", "",
        f"Made by `{command}`.", "",
        f"Lenses are drawn from: {PRIOR}. Instead of a power law with multipoles, their mass is: "
        f"{STARS_PRIOR}. Point masses have an Einstein radius of {POINT_ARCSEC:g} arcsec. Gains by "
        "a perturber are in log evidence, and so is that of stars and halo over a power law, both "
        "without a perturber; it is empty where no other mass was fitted. Seconds are of one core.",
        "",
        "| planted | lens | verdict | gain, power law | multipoles | stars and halo | broken | "
        "p, power law | p, any mass | stars and halo over power law | stellar fraction, truth | "
        "fitted | seconds, masses | in all |",
        f"|{14 * '---|'}",
    ]  # fmt: skip
    for kind, planted in KINDS.items():
        mocks = [
            draw_lens(k, options.seed, planted=planted, stars=True) for k in range(options.lenses)
        ]
        place = options.out / "runs" / f"competing-masses-{kind.replace(' ', '-')}.csv"
        rows = fit_mocks(mocks, place, options.workers)
        lines += [line(kind, row, mock.truth) for row, mock in zip(rows, mocks, strict=True)]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenses", type=int, default=3, help="mocks of each kind")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    text = page(options)
    with whole_file(options.out / "competing-masses.md") as part_file:
        part_file.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
