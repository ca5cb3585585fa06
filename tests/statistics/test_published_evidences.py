"""Verdicts on real lenses, in words."""

import pytest
from scripts import script

from lumpylens.lenses.lens_row import LensRow

published = script("published_evidences")


def row(**changes):
    """A lens with a perturber that noise does not make, and that multipoles leave."""
    numbers = {
        "id": "J1023+4230",
        "perturber_p_value": 0.001,
        "perturber_log_evidence": 37.0,
        "perturber_log_evidence_multipoles": 22.0,
    }
    return LensRow(**numbers | changes)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "candidate"),
        ({"perturber_p_value_any_mass": 0.01}, "complex mass"),
        ({"perturber_p_value_any_mass": 0.0099}, "candidate"),
        ({"perturber_p_value": 0.01}, "none"),
        ({"doubts": "far-chi2"}, "fit in doubt"),
        (
            {
                "perturber_p_value": 0.02,
                "companion_p_value": 0.04,
                "without_companion_p_value": 0.009,
            },
            "luminous",
        ),
    ],
)
def test_a_verdict_is_a_word(changes, verdict):
    assert published.verdict(row(**changes)) == verdict


def test_lenses_that_both_have_stand_beside_each_other():
    stars = {"perturber_log_evidence_stars_halo": 20.4}
    rows = [
        row(**stars),
        row(id="J2238-0754"),
        row(id="J9999+0000"),
        row(id="J0728+3835", error="no PSF"),
    ]
    table = published.scoreboard(rows)[4:]
    assert table == [
        "| J1023+4230 | 20 | 1.2 | 4.3 | retracted | 37 | 22 | 20 | candidate |",
        "| J2238-0754 | 7 |  |  | never above 10 | 37 | 22 |  | candidate |",
    ]
