"""Numbers stay on the device of the images, whatever torch's default device is.

There need be no graphics card: with a default device that holds no numbers, every tensor that is
made without saying where fails as soon as it meets the images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lumpylens.errors import ModelError
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model


@pytest.fixture
def elsewhere() -> Iterator[None]:
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize(("name", "preset"), [("slc-physics", "slc"), ("euclid-physics", "euclid")])
def test_fits_and_filter_make_no_tensor_elsewhere(name, preset, elsewhere):
    detector = load_model(name).detector
    batch = simulate(preset, 3, seed=3).stack()
    expected = detector.score(simulate(preset, 3, seed=3)).anomaly_score
    examiner = detector.examiner
    torch.set_default_device("meta")
    scores = detector.scores_of(batch, examiner.examine(batch))
    np.testing.assert_array_equal(scores.anomaly_score, expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card")
def test_a_card_that_is_not_there_is_refused():
    detector = load_model("slc-physics").detector
    with detector.on("cuda"), pytest.raises(ModelError, match="torch finds no GPU"):
        detector.score(simulate("slc", 1, seed=3))
