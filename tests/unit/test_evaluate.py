"""`evaluate`: which images count, what the numbers say, what is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mean_image import MeanImage, blobs
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import ks_2samp

from lumpylens.data.images import LensImages
from lumpylens.data.splits import part_of, pixel_digest, split
from lumpylens.errors import DataError
from lumpylens.report.evaluation import Evaluation
from lumpylens.results.calibration import Calibration
from lumpylens.results.metrics import auc, roc_curve, wasserstein
from lumpylens.results.score_table import ScoreTable
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.evaluate import evaluate

NORMAL = blobs(400, seed=0)
ANOMALOUS = blobs(100, seed=1, bump=0.35)


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    parts = split(LensImages.from_arrays(NORMAL))
    detector = MeanImage().fit(parts.train, validation=parts.validation)
    return TrainedModel(
        detector,
        Calibration(detector.anomaly_score(parts.calibration)),
        {part: digests for part, digests in parts.digests.items() if part != "test"},
    )


@pytest.fixture(scope="module")
def evaluation(model: TrainedModel) -> Evaluation:
    return run(model, NORMAL, ANOMALOUS)


def run(model: TrainedModel, normal: Any, anomalous: Any, **options: Any) -> Evaluation:
    return evaluate(model, normal=normal, anomalous=anomalous, progress=False, **options)


def parts_of(pixels: NDArray[np.float32]) -> NDArray[np.str_]:
    return np.array([part_of(pixel_digest(image)) for image in pixels])


def test_headline_counts_every_unseen_image_and_no_other(
    model: TrainedModel, evaluation: Evaluation
) -> None:
    m = evaluation.metrics
    unseen = parts_of(NORMAL) == "test"
    normal = model.detector.anomaly_score(NORMAL[unseen])
    anomalous = model.detector.anomaly_score(ANOMALOUS)
    assert m["n_normal"] == unseen.sum()
    assert m["n_anomalous"] == len(ANOMALOUS)
    assert m["n_seen_normal"] == (~unseen).sum()
    expected = auc(normal, anomalous)
    assert (m["auc"], m["auc_low"], m["auc_high"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    for fpr in ("0.01", "0.05", "0.1"):
        rate = roc_curve(normal, anomalous).tpr_at(float(fpr))
        assert m["tpr_at_fpr"][fpr] == pytest.approx(rate.value)
        assert m["tpr_at_fpr_low"][fpr] == pytest.approx(rate.low)
    losses = [model.detector.score(x).reconstruction_mse for x in (NORMAL[unseen], ANOMALOUS)]
    assert m["wasserstein"] == pytest.approx(wasserstein(*losses))


def test_splits_set_each_part_against_the_anomalous_images_of_that_part(
    model: TrainedModel, evaluation: Evaluation
) -> None:
    found = evaluation.metrics["splits"]
    assert list(found) == ["train", "validation", "calibration", "test"]
    for part, numbers in found.items():
        normal, anomalous = NORMAL[parts_of(NORMAL) == part], ANOMALOUS[parts_of(ANOMALOUS) == part]
        assert (numbers["n_normal"], numbers["n_anomalous"]) == (len(normal), len(anomalous))
        scores = [model.detector.anomaly_score(images) for images in (normal, anomalous)]
        assert numbers["auc"] == pytest.approx(auc(*scores).value)
    assert sum(n["n_anomalous"] for n in found.values()) == len(ANOMALOUS)


def test_audit_shows_components_free_mass_and_trivial_statistics(evaluation: Evaluation) -> None:
    m = evaluation.metrics
    assert set(m["audit"]["components"]) == {"reconstruction_mse", "free_mass"}
    assert m["audit"]["free_mass"] == m["audit"]["components"]["free_mass"]
    assert m["components"]["free_mass"]["auc"] == m["audit"]["free_mass"]["auc"]
    # the bump adds light, so the mean brightness is a shortcut here, and is shown as one
    assert m["audit"]["trivial"]["mean"]["auc"] > 0.9
    assert "file_bytes" not in m["audit"]["trivial"]


def test_thresholds_realise_what_they_state(model: TrainedModel, evaluation: Evaluation) -> None:
    found = evaluation.metrics["thresholds"]
    assert "1/" in found["0.01"]["refused"] or len(model.calibration) >= 99
    low, high = found["0.1"]["fpr_expected"]
    assert low <= found["0.1"]["fpr"] <= high
    scores = evaluation.rows()["anomalous"].anomaly_score
    assert found["0.1"]["tpr"] == np.mean(scores > model.calibration.threshold(0.1))
    check = evaluation.metrics["calibration_check"]
    unseen = evaluation.rows()["normal"].anomaly_score
    assert check["p_value"] == pytest.approx(ks_2samp(unseen, model.calibration.scores).pvalue)
    assert check["p_value"] > 1e-3


def test_numbers_follow_from_the_score_tables(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.tables["normal"].write(tmp_path / "normal.csv")
    table = ScoreTable.read(tmp_path / "normal.csv")
    chosen = table.components["use"] == "headline"
    other = evaluation.tables["anomalous"].anomaly_score
    assert auc(table.anomaly_score[chosen], other).value == evaluation.metrics["auc"]


def test_seen_images_in_another_order_under_other_names_stay_seen(
    model: TrainedModel, evaluation: Evaluation
) -> None:
    order = np.random.default_rng(3).permutation(len(NORMAL))
    renamed = LensImages.from_arrays(NORMAL[order], ids=[f"new-{k}" for k in order])
    again = run(model, renamed, ANOMALOUS[::-1])
    for key in ("auc", "n_normal", "n_seen_normal", "splits", "thresholds"):
        assert again.metrics[key] == evaluation.metrics[key], key


def test_no_unseen_image_is_refused(model: TrainedModel) -> None:
    seen = NORMAL[parts_of(NORMAL) != "test"]
    with pytest.raises(
        DataError, match=r"no normal image is left .*\d+ seen.*were not used in its training"
    ):
        run(model, seen, ANOMALOUS)
    with pytest.raises(DataError, match="anomalous: none of 3 images can be scored"):
        run(model, NORMAL, np.full((3, 24, 24), np.nan))


def test_an_anomalous_image_that_the_model_learned_from_is_no_evidence(model: TrainedModel) -> None:
    leaked = np.concatenate([ANOMALOUS, NORMAL[parts_of(NORMAL) == "train"][:5]])
    fresh = blobs(50, seed=9)
    m = run(model, fresh, leaked).metrics
    assert (m["n_anomalous"], m["n_seen_anomalous"]) == (len(ANOMALOUS), 5)


def test_duplicates_count_once_and_content_in_both_classes_not_at_all(model: TrainedModel) -> None:
    normal = blobs(40, seed=4)
    both = blobs(3, seed=5)
    m = run(
        model,
        np.concatenate([normal, normal[:7], both]),
        np.concatenate([both, ANOMALOUS, ANOMALOUS[:2], both]),
    ).metrics
    assert (m["n_normal"], m["n_duplicate_normal"], m["n_in_both_classes_normal"]) == (40, 7, 3)
    assert (m["n_anomalous"], m["n_duplicate_anomalous"]) == (len(ANOMALOUS), 2)
    assert m["n_in_both_classes_anomalous"] == 6
    assert m["n_given_normal"] == 50


def test_bad_images_are_rows_and_are_counted(model: TrainedModel, tmp_path: Path) -> None:
    folder = tmp_path / "normal"
    folder.mkdir()
    for k, image in enumerate(blobs(30, seed=6)):
        unit = (image - image.min()) / np.ptp(image)
        Image.fromarray((255 * unit).astype(np.uint8)).save(folder / f"{k:02d}.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no image")
    Image.fromarray(np.zeros((24, 24), np.uint8)).save(folder / "constant.png")
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(folder / "small.png")
    bad = ANOMALOUS.copy()
    bad[0], bad[1, 3, 3] = 1, np.nan
    found = run(model, folder, bad)
    m = found.metrics
    assert (m["n_failed_normal"], m["n_failed_anomalous"]) == (4, 2)
    assert (m["n_normal"], m["n_anomalous"]) == (30, len(bad) - 2)
    table = found.tables["normal"]
    failed = table[table.components["use"] == "failed"]
    assert len(table) == 34
    assert all(failed.error)
    assert np.isnan(failed.anomaly_score).all()
    assert m["audit"]["trivial"].keys() >= {"mean", "background"}


def test_images_unlike_the_training_images_are_warned_of_and_get_no_p_value(
    model: TrainedModel,
) -> None:
    rooted = np.sqrt(np.clip(blobs(5, seed=7), 0, None) + 0.5).astype(np.float32) ** 0.1
    found = run(model, np.concatenate([blobs(40, seed=8), 1 - rooted]), ANOMALOUS)
    table = found.rows()["normal"]
    assert found.metrics["n_warned_normal"] == 5
    assert np.isnan(table.p_value[-5:]).all()
    assert found.metrics["calibration_check"]["n_normal"] == 40


def test_classes_without_a_difference_and_shuffled_labels_give_one_half(
    model: TrainedModel,
) -> None:
    same = run(model, blobs(200, seed=20), blobs(200, seed=21)).metrics
    assert same["auc_low"] < 0.5 < same["auc_high"]
    mixed = np.concatenate([blobs(100, seed=22), ANOMALOUS])
    np.random.default_rng(0).shuffle(mixed)
    shuffled = run(model, mixed[:100], mixed[100:]).metrics
    assert shuffled["auc_low"] < 0.5 < shuffled["auc_high"]


def test_a_planted_anomaly_is_found_and_scores_move(evaluation: Evaluation) -> None:
    assert evaluation.auc > 0.99
    assert evaluation.metrics["components"]["free_mass"]["auc"] > 0.9
    assert np.std(evaluation.tables["normal"].anomaly_score) > 0


def test_classes_given_the_wrong_way_round_are_refused(model: TrainedModel) -> None:
    labelled = LensImages.from_arrays(NORMAL[:10], labels=[0] * 9 + [1])
    with pytest.raises(DataError, match="given as normal but are labelled anomalous"):
        run(model, labelled, ANOMALOUS)
    with pytest.raises(DataError, match="given as anomalous but are labelled normal"):
        run(model, NORMAL, labelled)


def test_examples_are_the_ends_of_the_ranking(evaluation: Evaluation) -> None:
    rows = evaluation.rows()
    everything = np.concatenate([rows["normal"].anomaly_score, rows["anomalous"].anomaly_score])
    shown = evaluation.examples
    assert [e.anomaly_score for e in shown["highest"]] == sorted(everything)[::-1][:6]
    assert [e.anomaly_score for e in shown["lowest"]] == sorted(everything)[:6]
    assert [e.rank for e in shown["highest"]] == [1, 2, 3, 4, 5, 6]
    assert not any(e.anomalous for e in shown["false_alarms"])
    assert all(e.anomalous for e in shown["missed"])
    best = shown["false_alarms"][0]
    assert best.anomaly_score == rows["normal"].anomaly_score.max()
    assert_array_equal(best.image, NORMAL[int(best.id)])


def test_the_seed_draws_images_and_changes_no_number(
    model: TrainedModel, evaluation: Evaluation
) -> None:
    same, other = (run(model, NORMAL, ANOMALOUS, seed=seed) for seed in (0, 1))
    assert {**evaluation.metrics, "seed": 1} == other.metrics
    first, again, drawn = (
        [e.id for e in found.examples["drawn"]] for found in (evaluation, same, other)
    )
    assert first == again
    assert first != drawn


def test_written_folder_is_whole_and_replaced_but_never_over_other_files(
    model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the pictures have their own test
    monkeypatch.setattr(
        "lumpylens.report.page.write_report",
        lambda _, folder: (folder / "report.html").touch(),
    )
    out = tmp_path / "results"
    found = run(model, NORMAL, ANOMALOUS, out=out)
    files = {"metrics.json", "report.html", "scores_anomalous.csv", "scores_normal.csv"}
    assert {entry.name for entry in out.iterdir()} == files
    assert json.loads((out / "metrics.json").read_text()) == found.metrics
    assert len(ScoreTable.read(out / "scores_normal.csv")) == len(NORMAL)
    found.write(out)
    assert [entry.name for entry in tmp_path.iterdir()] == ["results"]
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"thesis\.tex.*left as it is"):
        found.write(out)
    assert (out / "thesis.tex").exists()

    def broken(_: Any, folder: Path) -> None:
        raise DataError("disk full")

    monkeypatch.setattr("lumpylens.report.page.write_report", broken)
    with pytest.raises(DataError, match="disk full"):
        found.write(tmp_path / "other")
    assert [entry.name for entry in tmp_path.iterdir()] == ["results"]


def test_a_detector_without_reconstructions_is_evaluated(model: TrainedModel) -> None:
    class Silent(MeanImage):
        def _score_batch(self, batch: Any) -> Any:
            return replace(super()._score_batch(batch), reconstruction=None)

    silent = Silent()
    silent.__dict__.update(model.detector.__dict__)
    found = run(replace(model, detector=silent), NORMAL, ANOMALOUS)
    assert found.metrics["wasserstein"] is None
    assert "reconstruction_mse" not in found.metrics["components"]
    assert found.examples["highest"][0].reconstruction is None


def test_repr_says_the_headline(evaluation: Evaluation) -> None:
    text = repr(evaluation)
    assert f"AUC {evaluation.auc:.4f}" in text
    assert "mean-image" in text


@pytest.mark.slow
def test_real_images_pass_and_their_files_are_audited(real_data: Path) -> None:
    folders = {name: real_data / "slc" / "lenses" / name for name in ("no_sub", "sub")}
    normal, anomalous = (LensImages.open(folder)[:150] for folder in folders.values())
    parts = split(normal)
    detector = MeanImage().fit(parts.train, validation=parts.validation)
    model = TrainedModel(
        detector,
        Calibration(detector.anomaly_score(parts.calibration)),
        {part: digests for part, digests in parts.digests.items() if part != "test"},
    )
    m = run(model, normal, anomalous).metrics
    assert m["n_normal"] + m["n_seen_normal"] == m["n_given_normal"] == 150
    assert m["n_failed_normal"] == m["n_failed_anomalous"] == 0
    assert "file_bytes" in m["audit"]["trivial"]


def test_what_the_calibration_refuses_is_said_before_the_work(
    model: TrainedModel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MeanImage, "_score_batch", stopped)
    few = replace(model, calibration=Calibration(np.arange(18.0)))
    with pytest.raises(KeyboardInterrupt):
        evaluate(few, normal=NORMAL, anomalous=ANOMALOUS)
    said = capsys.readouterr().err
    for line in (
        "false-positive rate of 0.01; calibrate on at least 99 images",
        "false-positive rate of 0.05; calibrate on at least 19 images",
    ):
        assert line in said
    assert "rate of 0.1;" not in said


def test_a_notebook_and_a_data_frame_show_the_headline(evaluation: Evaluation) -> None:
    page = evaluation._repr_html_()
    assert f"{evaluation.auc:.4g}" in page
    assert "free_mass" in page
    frame = evaluation.to_pandas()
    assert set(frame["class"]) == {"normal", "anomalous"}
    assert len(frame) == len(evaluation.ranking.table)
