"""`score`: one row per image, calibrated, whatever the images are like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mean_image import MeanImage, blobs
from numpy.testing import assert_allclose, assert_array_equal

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.results.calibration import Calibration, benjamini_hochberg
from lumpylens.results.score_table import ScoreTable
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.score import score


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    detector = MeanImage().fit(blobs(60, seed=0))
    return TrainedModel(detector, Calibration(detector.anomaly_score(blobs(199, seed=1))), {})


@pytest.fixture(scope="module")
def images() -> LensImages:
    pixels = np.concatenate([blobs(30, seed=2), blobs(10, seed=3, bump=0.4)])
    pixels[4], pixels[7, 0, 0] = 2.5, np.nan
    pixels[9] = np.exp(-9 * pixels[9])
    return LensImages.from_arrays(pixels, ids=[f"lens {k}" for k in range(40)])


def test_every_image_is_a_row_in_order(model: TrainedModel, images: LensImages) -> None:
    table = score(model, images, progress=False)
    assert table.id == images.ids
    assert_array_equal(np.flatnonzero(~table.scored), [4, 7])
    assert "constant" in table.error[4]
    assert "NaN" in table.error[7]
    assert "not like the training images" in table.warning[9]
    assert np.isfinite(table.anomaly_score[9])
    assert_array_equal(np.flatnonzero(np.isnan(table.p_value)), [4, 7, 9])
    assert list(table.components) == ["reconstruction_mse", "free_mass"]


def test_p_values_and_flags_come_from_the_calibration(
    model: TrainedModel, images: LensImages
) -> None:
    table = score(model, images, fdr=0.1, progress=False)
    known = np.isfinite(table.p_value)
    expected = model.calibration.p_values(table.anomaly_score)[known]
    assert_array_equal(table.p_value[known], expected)
    assert_allclose(table.q_value[known], benjamini_hochberg(expected))
    assert_array_equal(table.flag, np.nan_to_num(table.q_value, nan=1) <= 0.1)
    assert table.flag[30:].mean() > 0.8
    assert not table.flag[[4, 7, 9]].any()
    assert set(table.top(5).id) <= {f"lens {k}" for k in range(30, 40)}


def test_scores_do_not_depend_on_order_or_company(model: TrainedModel, images: LensImages) -> None:
    whole = score(model, images, progress=False)
    order = np.random.default_rng(0).permutation(40)
    assert_allclose(
        score(model, images[order], progress=False).anomaly_score,
        whole.anomaly_score[order],
        rtol=1e-6,
    )
    alone = score(model, images[31:32], progress=False)
    assert_allclose(alone.anomaly_score, whole.anomaly_score[31:32], rtol=1e-6)


def test_the_table_is_written_on_request(
    model: TrainedModel, images: LensImages, tmp_path: Path
) -> None:
    table = score(model, images, out=tmp_path / "new" / "scores.csv", progress=False)
    again = ScoreTable.read(tmp_path / "new" / "scores.csv")
    assert_array_equal(again.anomaly_score, table.anomaly_score)
    assert again.error == table.error


def test_mistakes_are_named_before_the_work(
    model: TrainedModel, images: LensImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeanImage, "_score_batch", None)
    with pytest.raises(DataError, match=r"\.csv, \.ecsv, \.parquet"):
        score(model, images, out=tmp_path / "scores.xlsx", progress=False)
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(DataError, match=r"is a folder; name a file in it"):
        score(model, images, out=tmp_path / "a.csv", progress=False)
    for fdr in (0, 1, -1, float("nan")):
        with pytest.raises(ModelError, match="between 0 and 1"):
            score(model, images, fdr=fdr, progress=False)
    with pytest.raises(ModelError, match="no device called 'tpu'"):
        score(model, images, device="tpu", progress=False)
    with pytest.raises(ModelError, match="no model folder"):
        score(tmp_path / "nothing", images, progress=False)


def test_progress_is_shown_on_standard_error_alone(
    model: TrainedModel, images: LensImages, capsys: pytest.CaptureFixture[str]
) -> None:
    score(model, images[:5], progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "scoring" in shown.err
    score(model, images[:5], progress=False)
    assert capsys.readouterr().err == ""


def test_what_can_never_be_flagged_is_said_before_the_work(
    model: TrainedModel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    score(model, blobs(10, seed=2), progress=True)
    assert "flagged" not in capsys.readouterr().err

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MeanImage, "_score_batch", stopped)
    for fdr, said in (
        (0.01, "lumpylens: fewer than 20 of the 40 images cannot be flagged"),
        (0.004, "lumpylens: no image can be flagged at a false-discovery rate of 0.004: 199 "),
    ):
        with pytest.raises(KeyboardInterrupt):
            score(model, blobs(40, seed=2), fdr=fdr, progress=True)
        assert said in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        score(model, blobs(40, seed=2), fdr=0.01, progress=False)
    assert capsys.readouterr().err == ""


def test_a_detector_without_a_fast_score_says_so(model: TrainedModel, images: LensImages) -> None:
    with pytest.raises(ModelError, match="has no fast score; score without --fast"):
        score(model, images, fast=True, progress=False)


def test_the_users_model_keeps_its_device(model: TrainedModel, images: LensImages) -> None:
    """Whatever device is asked for a call, in each function that takes one."""
    from lumpylens.verbs.explain import explain

    seen = []

    def score_batch(batch: object) -> object:
        seen.append(model.detector.device)
        return type(model.detector)._score_batch(model.detector, batch)

    model.detector.device = "auto"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.detector, "_score_batch", score_batch, raising=False)
        score(model, images, device="cpu", progress=False)
        explain(model, images[:1], device="cpu", progress=False)
    assert set(seen) == {"cpu"}
    assert model.detector.device == "auto"
