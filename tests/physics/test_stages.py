"""What the training of `physics` says on the way."""

from __future__ import annotations

import re

import pytest

from lumpylens.detectors import Run, create
from lumpylens.simulation import simulate


@pytest.mark.slow
@pytest.mark.parametrize("show", [True, False])
def test_training_says_what_each_stage_learned(capsys, show):
    lenses = simulate("slc", 28, seed=0, progress=False)
    settings = {"sample": 20, "near_epochs": 1, "renders": 1000}
    create("physics", **settings).fit(lenses, run=Run(device="cpu", progress=show))
    said = capsys.readouterr().err.splitlines()
    if not show:
        assert said == []
        return
    assert all(line.startswith("lumpylens: ") for line in said)
    words = [re.sub(r"[\d.]+", "#", line.removeprefix("lumpylens: ")) for line in said]
    rounds = [
        text for text in words if text.startswith("instrument and noise from # lenses, round")
    ]
    assert len(rounds) >= 3
    assert [text for text in words if text not in rounds] == [
        "encoder: the one that ships (# s)",
        "instrument and noise from # lenses, first fits: the lens galaxy is seen (# s)",
        "instrument and noise from # lenses, the lens light of a pixel is the mean of # x # rays "
        "(# s)",
        *2
        * [
            "fitting normal lenses: # of # in # s",
            "population of # lenses: mean Einstein radius # px (# s)",
        ],
        "simulating lenses for training: # of # in # s",
        words[-4],
        "encoder: trained further on lenses like these (# s)",
        "filtering normal lenses: # of # in # s",
        "scores of normal lenses (# s)",
    ]
    assert words[-4].startswith("epoch #/#  loss ")
