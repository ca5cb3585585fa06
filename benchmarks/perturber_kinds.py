"""What `lumpylens fit` says of masses that shine, and of subhaloes that are no points, on mocks.

    python benchmarks/perturber_kinds.py --out results

Mock lenses are drawn from the prior of `mock_lenses` and fitted with the defaults. At one place
near the arcs of each there is a point mass with light, without light, or the light alone; or a
pseudo-Jaffe or NFW subhalo. Rows that an earlier run fitted are kept in
``OUT/runs/perturber-kinds-*.csv``. Writes ``perturber-kinds.md``.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mock_lenses import PRIOR, MockLens, Planted, draw_lens, fit_mocks

from lumpylens.files.tables import write_columns
from lumpylens.files.writing import whole_file
from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.compact_mass import PseudoJaffe, TruncatedNfw
from lumpylens.lenses.verdict import status_of
from lumpylens.physics.cosmology import concentration, msun_per_square_arcsec
from lumpylens.physics.subhaloes import TRUNCATION

LENS_REDSHIFT, SOURCE_REDSHIFT = 0.2, 0.6
"""Those of a typical lens of the SLACS survey."""

POINT_ARCSEC, BRIGHTNESS = 0.12, 1.0
"""Einstein radius of the point masses, and brightness of the galaxies over that of the arcs."""

TYPICAL_RADIUS = 1.2
"""Einstein radius of the lens whose tide truncates the pseudo-Jaffe subhaloes, arcsec."""


def point() -> Planted:
    """A point mass."""
    return Planted(("POINT_MASS",), ({"theta_E": POINT_ARCSEC},))


def pseudo_jaffe(mass_msun: float) -> Planted:
    """A pseudo-Jaffe subhalo of this total mass."""
    strength = mass_msun / msun_per_square_arcsec(LENS_REDSHIFT, SOURCE_REDSHIFT)
    b, core = PseudoJaffe(TYPICAL_RADIUS).sphere_radius(strength), 1e-4
    tidal = math.sqrt(b * TYPICAL_RADIUS)
    sigma0 = b / 2 * (tidal - core) / (tidal * core)
    return Planted(("PJAFFE",), ({"sigma0": sigma0, "Ra": core, "Rs": tidal},))


def nfw(mass_msun: float) -> Planted:
    """A truncated NFW subhalo of this mass within 200 critical densities."""
    halo = TruncatedNfw(LENS_REDSHIFT, SOURCE_REDSHIFT)
    strength = mass_msun / halo.msun
    scale = halo.scale_radius(strength)
    c = float(concentration(np.array(mass_msun), LENS_REDSHIFT))
    # Deflection of the untruncated halo at its scale radius.
    alpha = strength / (math.log(1 + c) - c / (1 + c)) * (1 - math.log(2)) / scale
    return Planted(("TNFW",), ({"Rs": scale, "alpha_Rs": alpha, "r_trunc": TRUNCATION * scale},))


def shining(mass: Planted) -> Planted:
    """The same mass with the light of a small galaxy."""
    return Planted(mass.names, mass.keywords, BRIGHTNESS)


KINDS = {
    "light and mass": shining(point()),
    "mass alone": point(),
    "light alone": Planted(brightness=BRIGHTNESS),
    "pseudo-Jaffe, 3e9 Msun": pseudo_jaffe(3e9),
    "pseudo-Jaffe, 1e10 Msun": pseudo_jaffe(1e10),
    "NFW, 1e10 Msun": nfw(1e10),
    "NFW, 5e10 Msun": nfw(5e10),
}
"""What is planted, by its name in the table."""


def measured(mocks: Sequence[MockLens], name: str, out: Path, workers: int) -> list[LensRow]:
    """Fit mocks with the defaults and redshifts; rows that are in the table are taken from it."""
    runs = out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    word = name.replace(" ", "-").replace(",", "")
    ids = [mock.image.id for mock in mocks]
    redshifts = runs / f"perturber-kinds-{word}-redshifts.csv"
    columns = {
        "id": ids,
        "lens_redshift": [LENS_REDSHIFT] * len(ids),
        "source_redshift": [SOURCE_REDSHIFT] * len(ids),
    }
    write_columns(columns, redshifts)
    return fit_mocks(mocks, runs / f"perturber-kinds-{word}.csv", workers, redshifts)


def number(value: float, form: str = ".2g") -> str:
    """A number for the table, empty if there is none."""
    return "" if math.isnan(value) else f"{value:{form}}"


def mass(value: float, error: float) -> str:
    """A mass with its error for the table."""
    return "" if math.isnan(value) else f"{value:.2g} ± {error:.1g}"


def line(kind: str, row: LensRow, mock: MockLens) -> str:
    """One line of the table."""
    at = (mock.truth["perturber_x"], mock.truth["perturber_y"])
    away = math.hypot(row.perturber_x_arcsec - at[0], row.perturber_y_arcsec - at[1])
    cells = (
        kind, row.id, status_of(row).value, number(row.companion_log_evidence, ".0f"),
        number(row.perturber_log_evidence, ".0f"), number(away), row.perturber_profile,
        mass(row.perturber_mass_msun, row.perturber_mass_error_msun),
        mass(row.pseudo_jaffe_mass_msun, row.pseudo_jaffe_mass_error_msun),
        mass(row.nfw_m200_msun, row.nfw_m200_error_msun), number(row.seconds, ".0f"),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def page(kinds: Sequence[str], options: argparse.Namespace) -> str:
    """Fit the mocks of each kind, and make the page of results."""
    command = "python " + shlex.join(["benchmarks/perturber_kinds.py", *sys.argv[1:]])
    lines = [
        "# Masses that shine, and profiles of subhaloes, on mock lenses", "",
        f"Made by `{command}`.", "",
        f"Lenses are drawn from: {PRIOR}. Point masses have an Einstein radius of {POINT_ARCSEC:g} "
        f"arcsec ({POINT_ARCSEC**2 * msun_per_square_arcsec(LENS_REDSHIFT, SOURCE_REDSHIFT):.2g} "
        f"Msun at redshifts {LENS_REDSHIFT:g} and {SOURCE_REDSHIFT:g}); galaxies are "
        f"{BRIGHTNESS:g} times as bright as the brightest pixel of the arcs. Gains are in log "
        "evidence, the distance is that from the planted mass to the perturber in arcsec, masses "
        "are in solar masses.", "",
        "| planted | lens | verdict | gain, companion | gain, perturber | distance | profile | "
        "point | pseudo-Jaffe | NFW, M200 | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind in kinds:
        mocks = [draw_lens(k, options.seed, planted=KINDS[kind]) for k in range(options.lenses)]
        rows = measured(mocks, kind, options.out, options.workers)
        lines += [line(kind, row, mock) for row, mock in zip(rows, mocks, strict=True)]
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and write and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lenses", type=int, default=3, help="mocks of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    text = page(options.kinds, options)
    with whole_file(options.out / "perturber-kinds.md") as part_file:
        part_file.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
