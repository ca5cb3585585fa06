"""Verdicts on real lenses beside those of Nightingale et al. 2024 (arXiv:2209.10566)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.verdict import CANDIDATE_P, Status, status_of

__all__ = ["scoreboard"]


@dataclass(frozen=True)
class Published:
    """Gains in log evidence by a subhalo.

    Attributes
    ----------
    power_law : float
        The larger one of the two source meshes.
    multipoles, decomposed : float
        With multipoles of the mass, and with stars that follow the light plus a dark halo; NaN
        where it was not tried or is not told.
    verdict : str
    """

    power_law: float
    multipoles: float = math.nan
    decomposed: float = math.nan
    verdict: str = "retracted"


NEVER = "never above 10"
PUBLISHED = {
    "J2341+0000": Published(152, 20, 8.9),
    "J0956+5100": Published(52, 22, 9.2, "retracted; luminous (arXiv:1405.3666)"),
    "J1432+6317": Published(44, 18, 3.3),
    "J0330-0020": Published(29, 10, 3.8),
    "J1023+4230": Published(20, 1.2, 4.3),
    "J0822+2652": Published(20, 3.1, 2.4),
    "J0728+3835": Published(11, 21),
    "J2238-0754": Published(7, verdict=NEVER),
    "J1627-0053": Published(4, verdict=NEVER),
    "J0737+3216": Published(3, verdict=NEVER),
    "J0008-0004": Published(2, verdict=NEVER),
}


def verdict(row: LensRow) -> str:
    """What the fit of a lens says, in a word."""
    if not row.trusted:
        return "fit in doubt"
    found = status_of(row)
    return "none" if found is Status.NO_PERTURBER else found.value


def scoreboard(rows: Sequence[LensRow]) -> list[str]:
    """Lines of the table of the lenses that both have."""

    def gain(number: float, form: str = "g") -> str:
        return "" if math.isnan(number) else f"{number:{form}}"

    lines = [
        "Gains in log evidence by a subhalo, as published (the larger one of two source meshes), "
        "and here by a point mass. Verdicts here: *none* is a p-value of at least "
        f"{CANDIDATE_P:g}, which compares with what noise alone gives in the same lens; "
        "*candidate* a smaller one with every mass of the lens that was fitted; *complex mass* a "
        "smaller one with a power law alone; *luminous* a mass that a companion has, whose "
        "light is seen; *fit in doubt*, see its quality above. Stars that follow the light and "
        "a dark halo are fitted only where a power law and its multipoles leave a perturber "
        "that may be significant.",
        "",
        "| lens | published: power law | multipoles | stars and dark matter | verdict | "
        "here: power law | multipoles | stars and dark matter | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    fitted = {row.id: row for row in rows if not row.error}
    for name, known in PUBLISHED.items():
        if name not in fitted:
            continue
        row = fitted[name]
        lines.append(
            f"| {name} | {gain(known.power_law)} | {gain(known.multipoles)} | "
            f"{gain(known.decomposed)} | {known.verdict} | {row.perturber_log_evidence:.0f} | "
            f"{row.perturber_log_evidence_multipoles:.0f} | "
            f"{gain(row.perturber_log_evidence_stars_halo, '.0f')} | {verdict(row)} |"
        )
    return lines
