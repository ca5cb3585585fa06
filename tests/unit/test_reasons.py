"""Where all images are wrong at once, one sentence says why, for how many, and what to do."""

from __future__ import annotations

import numpy as np
import pytest
from mean_image import MeanImage, blobs
from numpy.typing import NDArray

from lumpylens.errors import DataError
from lumpylens.results.calibration import Calibration
from lumpylens.results.reasons import by_reason, why_none
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.evaluate import evaluate
from lumpylens.verbs.explain import explain
from lumpylens.verbs.info import info
from lumpylens.verbs.score import score

SIDE = 24
ADVICE = (
    "compare `lumpylens info` of the images and of the model, or train a model on normal images of "
    "this kind"
)
TOO_SMALL = f"image is 12x12 pixels, at least {SIDE}x{SIDE} are needed (15 images)"


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    detector = MeanImage().fit(blobs(60, seed=0))
    return TrainedModel(detector, Calibration(detector.anomaly_score(blobs(199, seed=1))), {})


@pytest.fixture(scope="module")
def small() -> NDArray[np.float32]:
    return blobs(15, seed=2)[:, 6:18, 6:18]


@pytest.fixture(scope="module")
def foreign() -> NDArray[np.float32]:
    """Of another stretch, each with other numbers."""
    return np.random.default_rng(0).random((15, SIDE, SIDE)).astype(np.float32) ** 0.1


def test_reasons_are_counted_whatever_their_numbers():
    texts = ["b", "a 1.5 px", "a 2 px", "a 22 px", "c", "c", "d", "e"]
    assert by_reason(texts) == (
        "a 1.5 px (3 images, numbers of the first); c (2 images); b (1 image); "
        "other reasons (2 images)"
    )


def test_one_image_or_one_good_image_needs_no_sentence():
    assert why_none(["bad"], [""]) == ""
    assert why_none(["bad", ""], ["", ""]) == ""
    assert why_none([], []) == ""
    assert why_none(["bad", ""], ["", "odd"]).startswith("none of 2 images gets a p-value: bad (1")


def test_scores_of_another_size_are_one_sentence(model, small):
    table = score(model, small, progress=False)
    assert repr(table) == (
        "ScoreTable of 15 images: 0 flagged, 0 with a warning, 15 failed\n"
        f"none of 15 images can be scored: {TOO_SMALL}; {ADVICE}"
    )
    assert table._repr_html_().count(TOO_SMALL) == 1
    assert "<table" not in table._repr_html_()


def test_scores_of_another_telescope_are_one_sentence(model, foreign):
    shown = repr(score(model, foreign, progress=False)).splitlines()
    assert len(shown) == 2
    assert shown[1].startswith("none of 15 images gets a p-value: not like the training images")
    assert shown[1].count("quantile") <= 3
    assert shown[1].endswith(ADVICE)


def test_one_good_image_brings_back_the_rows(model, foreign):
    pixels = np.concatenate([foreign, blobs(1, seed=5)])
    assert len(repr(score(model, pixels, progress=False)).splitlines()) == 12


def test_explanations_of_another_size_are_one_sentence_and_no_folder(model, small, tmp_path):
    found = explain(model, small, out=tmp_path / "figures", progress=False)
    assert repr(found) == f"none of 15 images can be scored: {TOO_SMALL}; {ADVICE}"
    assert found._repr_html_().count(TOO_SMALL) == 1
    assert list(tmp_path.iterdir()) == []


def test_explanations_of_another_telescope_begin_with_the_sentence(model, foreign):
    shown = repr(explain(model, foreign, progress=False)).splitlines()
    assert len(shown) == 16
    assert shown[0].startswith("none of 15 images gets a p-value: not like the training images")


def test_evaluate_refuses_another_size_in_one_sentence(model, small):
    with pytest.raises(DataError) as caught:
        evaluate(model, normal=small, anomalous=blobs(15, seed=3), progress=False)
    assert str(caught.value) == f"normal: none of 15 images can be scored: {TOO_SMALL}; {ADVICE}"


def test_evaluate_says_which_class_is_of_another_telescope(model, foreign):
    shown = repr(evaluate(model, normal=blobs(30, seed=8), anomalous=foreign, progress=False))
    last = shown.splitlines()[-1]
    assert last.startswith("  anomalous: none of 15 images gets a p-value: not like the training")
    assert "  normal: none" not in shown


def test_info_says_once_why_no_file_can_be_used(tmp_path):
    for k in range(12):
        (tmp_path / f"{k:02d}.png").write_bytes(b"")
    shown = repr(info(tmp_path, progress=False)).splitlines()
    (line,) = [line for line in shown if "none can be used" in line]
    assert "(12 images)" in line
    assert line.endswith("the first is 00.png")
    assert sum("00.png" in line for line in shown) == 1
    np.save(tmp_path / "good.npy", blobs(1, seed=0))
    assert "12 cannot be used:" in repr(info(tmp_path, progress=False))
