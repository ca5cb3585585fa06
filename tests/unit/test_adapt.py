"""`adapt`: what stays, what is learned anew, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.data.splits import contained, digests_of, split
from lumpylens.errors import DataError
from lumpylens.store.folder import load_model, save_model
from lumpylens.verbs.adapt import adapt
from lumpylens.verbs.score import score
from lumpylens.verbs.train import train


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).normal(size=(600, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model(pixels):
    # With all 64 components nothing but rounding errors would be left of an image.
    return train(pixels[:300], "pca", settings={"max_components": 8}, progress=False)


@pytest.fixture(scope="module")
def others(pixels):
    """Images with three times the noise beside a bright pixel."""
    others = 3 * pixels[300:]
    others[:, 4, 4] += 40
    return others


def test_the_null_is_learned_anew_and_the_detector_stays(model, others):
    before = {name: array.copy() for name, array in model.detector._arrays().items()}
    old_scores = model.calibration.scores.copy()
    adapted = adapt(model, others, progress=False)
    for name, array in adapted.detector._arrays().items():
        np.testing.assert_array_equal(array, before[name])
    calibration = split(LensImages.from_arrays(others)).calibration
    np.testing.assert_allclose(
        adapted.calibration.scores, np.sort(adapted.detector.anomaly_score(calibration))
    )
    np.testing.assert_array_equal(model.calibration.scores, old_scores)
    assert np.nanmin(score(model, others, progress=False).p_value) > 0.9
    assert 0.1 < np.nanmean(score(adapted, others, progress=False).p_value <= 0.25) < 0.5


def test_it_remembers_what_both_models_have_seen(model, others):
    adapted = adapt(model, others, progress=False)
    for part in ("train", "validation", "calibration"):
        assert contained(model.seen[part], adapted.seen[part]).all()
        new = digests_of(getattr(split(LensImages.from_arrays(others)), part))[0]
        assert contained(new, adapted.seen[part]).all()


def test_the_card_says_where_it_comes_from(model, others, tmp_path):
    save_model(model, tmp_path / "model")
    adapted = adapt(tmp_path / "model", others, progress=False, out=tmp_path / "new")
    back = load_model(tmp_path / "new")
    assert back.info["adapted_from"]["command"] == model.info["command"]
    assert "Adapted from the model" in back.card == adapted.card
    assert back.info["command"].startswith("lumpylens adapt ")
    np.testing.assert_array_equal(back.calibration.scores, adapted.calibration.scores)


def test_what_cannot_be_adapted_to_is_refused_in_a_line(model, pixels):
    with pytest.raises(DataError, match="8x7"):
        adapt(model, pixels[:, :, :7], progress=False)
    with pytest.raises(DataError, match="at least 100"):
        adapt(model, pixels[:40], progress=False)
