"""Submissions: lumpy or smooth for every image, at an operating point that labels do not choose."""

from __future__ import annotations

import csv
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from mean_image import MeanImage, blobs
from roman_file import write_challenge
from scipy.stats import norm

from lumpylens import cli
from lumpylens.data.images import LensImages
from lumpylens.detectors import DETECTORS
from lumpylens.errors import DataError, ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.results.score_table import ScoreTable
from lumpylens.results.submission import (
    OperatingPoint,
    SubmissionCounts,
    operating_point,
    smooth_fraction,
)
from lumpylens.scale import score_shards
from lumpylens.store.folder import save_model
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.score import score
from lumpylens.verbs.train import train

SEPARATION = 2.0
"""Of the scores of lumpy and smooth lenses, in standard deviations."""


def lenses(lumpy_fraction, count, seed=0, calibration=4999):
    """P-values of lenses whose scores are Gaussian, and which of them are lumpy."""
    random = np.random.default_rng(seed)
    lumpy = random.random(count) < lumpy_fraction
    scores = random.normal(size=count) + SEPARATION * lumpy
    return Calibration(random.normal(size=calibration)).p_values(scores), lumpy


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_the_limit_is_where_a_lens_is_as_probably_lumpy_as_smooth(fraction):
    edges = np.linspace(0, 1, 1001)
    # Of smooth lenses p-values are uniform; a lumpy one is at most p if its score is so high.
    lumpy_up_to = norm.sf(norm.isf(edges) - SEPARATION)
    counts = 1e9 * ((1 - fraction) / 1000 + fraction * np.diff(lumpy_up_to))
    point = operating_point(edges[1:], counts.astype(int), lumpy_fraction=fraction)
    # The ratio of the densities at score x is exp(d x - d^2 / 2).
    best = SEPARATION / 2 + np.log((1 - fraction) / fraction) / SEPARATION
    assert point.p_value_limit == pytest.approx(norm.sf(best), abs=0.0011)
    accuracy = fraction * norm.sf(best - SEPARATION) + (1 - fraction) * norm.cdf(best)
    assert point.expected_accuracy == pytest.approx(accuracy, abs=1e-4)
    assert (point.lumpy_fraction, point.is_estimate) == (fraction, False)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_of_some_thousand_lenses_as_many_are_right_as_can_be(fraction):
    p_values, lumpy = lenses(fraction, 20_000)
    point = operating_point(p_values, lumpy_fraction=fraction)
    best = SEPARATION / 2 + np.log((1 - fraction) / fraction) / SEPARATION
    accuracy = fraction * norm.sf(best - SEPARATION) + (1 - fraction) * norm.cdf(best)
    assert (point.is_lumpy(p_values) == lumpy).mean() == pytest.approx(accuracy, abs=0.008)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.8])
def test_the_fraction_is_estimated_from_p_values_alone(fraction):
    estimates = [1 - smooth_fraction(lenses(fraction, 3000, seed)[0]) for seed in range(20)]
    # Some lumpy lenses have high p-values; without any, no estimate can be below zero.
    assert np.mean(estimates) == pytest.approx(fraction, abs=0.05)
    assert np.std(estimates) < 0.06


def test_chance_makes_few_lenses_lumpy_where_there_are_few_lenses():
    estimates = [1 - smooth_fraction(lenses(0, 200, seed)[0]) for seed in range(200)]
    assert np.mean(estimates) < 0.09


def test_no_more_lumpy_lenses_than_there_are_can_be_right():
    point = operating_point([0.01] * 9 + [0.9], lumpy_fraction=0.1)
    assert point.expected_accuracy == pytest.approx(0.1 + 0.9 * 0.99)


def test_the_estimated_fraction_costs_little_accuracy():
    p_values, lumpy = lenses(0.5, 5000, seed=3)
    point = operating_point(p_values)
    assert point.is_estimate
    right = (point.is_lumpy(p_values) == lumpy).mean()
    assert right > norm.cdf(SEPARATION / 2) - 0.01
    assert point.expected_accuracy == pytest.approx(right, abs=0.03)


def test_with_few_calibration_images_p_values_are_steps():
    values = np.arange(1, 8) / 7
    assert smooth_fraction(values, [100] * 7) == 1
    assert smooth_fraction(values, [800] + [100] * 6) == pytest.approx(0.5)


def test_counts_stand_for_lenses():
    values, counts = [0.05, 0.1, 0.4, 0.9, 1.0], [30, 10, 0, 20, 20]
    for choice in ({}, {"lumpy_fraction": 0.4}, {"fpr": 0.1}):
        assert operating_point(values, counts, **choice) == operating_point(
            np.repeat(values, counts), **choice
        )


def test_all_or_none_may_be_lumpy():
    assert operating_point([0.7, 0.8, 0.9, 1.0], lumpy_fraction=0.1).p_value_limit == 0
    everything = operating_point([0.2, 0.4, 0.6, 1.0], lumpy_fraction=0.99)
    assert everything.is_lumpy([0.2, 1.0, np.nan]).all()


def test_a_false_positive_rate_takes_the_place_of_the_best_accuracy():
    p_values, lumpy = lenses(0.5, 20_000, seed=1)
    point = operating_point(p_values, fpr=0.1)
    assert (point.p_value_limit, point.lumpy_fraction, point.expected_accuracy) == (0.1, None, None)
    assert point.is_lumpy(p_values)[~lumpy].mean() == pytest.approx(0.1, abs=0.01)
    assert point.is_lumpy([0.1, 0.1001, np.nan]).tolist() == [True, False, False]


def test_a_lens_without_a_p_value_is_what_most_lenses_are():
    nan = float("nan")
    p_values = [0.01, nan, 0.9]
    for fraction, unknown in ((0.3, False), (0.5, False), (0.7, True)):
        point = operating_point(p_values, lumpy_fraction=fraction)
        assert point.is_lumpy(p_values).tolist()[:2] == [True, unknown]
    with pytest.raises(DataError, match="no lens has a p-value, so there is nothing to submit"):
        operating_point([nan, nan])


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"lumpy_fraction": 0.5, "fpr": 0.1}, "give one of them"),
        ({"lumpy_fraction": 1.0}, "lies between 0 and 1, got 1"),
        ({"fpr": 0.0}, "lies between 0 and 1, got 0"),
    ],
)
def test_what_is_no_operating_point(choice, said):
    with pytest.raises(ModelError, match=said):
        operating_point([0.1], **choice)


def test_the_sentence_of_a_submission_says_what_was_decided():
    point = OperatingPoint(0.215, 0.48, True, 0.71)
    assert str(SubmissionCounts(point, 1000, 400, 12)) == (
        "400 of 1000 lenses are called lumpy, those with a p-value of at most 0.215: the best "
        "accuracy, 71% expected, if 48% of the lenses are lumpy (an estimate from the p-values); "
        "12 without a p-value (not scored, or a doubtful score) are called smooth"
    )
    assert str(SubmissionCounts(OperatingPoint(0.1), 10, 3, 0)) == (
        "3 of 10 lenses are called lumpy, those with a p-value of at most 0.1, which is the "
        "false-positive rate asked for"
    )
    assert "(as given); 1 without" in str(
        SubmissionCounts(OperatingPoint(0.2, 0.6, False, 0.7), 10, 3, 1)
    )


# -- score writes them -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    detector = MeanImage().fit(LensImages.from_arrays(blobs(40, 0)))
    held_out = detector.anomaly_score(LensImages.from_arrays(blobs(99, 1)))
    folder = tmp_path_factory.mktemp("models") / "model"
    return save_model(TrainedModel(detector, Calibration(held_out), {}), folder)


@pytest.fixture(autouse=True)
def mean_image(monkeypatch):
    monkeypatch.setitem(DETECTORS, "mean-image", "mean_image:MeanImage")


@pytest.fixture
def survey(tmp_path):
    """Two files of the challenge: half of the lenses lumpy, one broken, one in another band."""
    pixels = {"smooth": blobs(30, 3), "lumpy": blobs(30, 2, bump=0.6)}
    pixels["lumpy"][4] = np.nan
    folder = tmp_path / "survey"
    for first, name in ((0, "smooth"), (30, "lumpy")):
        write_challenge(
            folder / f"{name}.h5",
            30,
            first=first,
            bands=("F106", "F129"),
            missing={7: ("F129",)},
            image_of=lambda number, _, name=name, first=first: pixels[name][number - first],
        )
    return folder


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_every_id_is_a_row_in_the_order_of_the_files(model, survey, tmp_path):
    place = tmp_path / "new" / "team_rung1_submission1.csv"
    table = score(model, survey, band="F129", submission=place, lumpy_fraction=0.5, progress=False)
    header, *rows = rows_of(place)
    assert header == ["ID", "has_substructure"]
    assert [name for name, _ in rows] == table.id
    assert sorted(table.id) == [f"strong_lens_{k:08d}" for k in range(60)]
    called = {name: said == "True" for name, said in rows}
    assert {said for _, said in rows} == {"True", "False"}
    right = [called[f"strong_lens_{k:08d}"] == (k >= 30) for k in range(60)]
    assert sum(right) >= 55
    for failed in (7, 34):
        assert not called[f"strong_lens_{failed:08d}"]
    # As the challenge reads it: numbers of the ids, and booleans.
    frame = pd.read_csv(place)
    assert frame["has_substructure"].dtype == bool
    assert frame["ID"].str.slice(12).astype(int).tolist() == [*range(30, 60), *range(30)]
    submission = table.submission(lumpy_fraction=0.5)
    assert submission.counts.unknown == 2
    pd.testing.assert_frame_equal(submission.to_pandas(), frame, check_dtype=False)
    assert repr(submission).startswith("Submission: ")


def test_shards_together_make_the_submission_of_one_table(model, survey, tmp_path):
    for choice in ({}, {"lumpy_fraction": 0.7}, {"fpr": 0.1}):
        alone, together = tmp_path / "alone.csv", tmp_path / "together.csv"
        table = score(model, survey, band="F129", submission=alone, progress=False, **choice)
        campaign = score_shards(
            model,
            sorted(survey.iterdir()),
            out=tmp_path / "scores",
            band="F129",
            submission=together,
            progress=False,
            **choice,
        )
        assert rows_of(together) == rows_of(alone)
        assert campaign.submitted == table.submission(**choice).counts
        assert f"{together}: {campaign.submitted}" in repr(campaign)
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert summary["submitted"]["unknown"] == 2
    with pytest.raises(ModelError, match="holds scores of another model, or other scores"):
        score_shards(model, [survey], out=tmp_path / "scores", band="F106", progress=False)


def test_without_a_shard_there_is_no_submission(model, survey, tmp_path, capsys):
    (survey / "torn.h5").write_bytes(b"torn")
    place = tmp_path / "submission.csv"
    shards = sorted(survey.iterdir())
    campaign = score_shards(model, shards, out=tmp_path / "scores", band="F129", submission=place)
    assert campaign.submission is campaign.submitted is None
    assert not place.exists()
    assert "no submission is written: it has a row for each image, and 1 shards" in (
        capsys.readouterr().err
    )


def test_what_cannot_be_submitted_takes_nothing_else_away(model, tmp_path):
    shard = tmp_path / "flat.npy"
    np.save(shard, np.ones((5, *blobs(1, 0).shape[1:])))
    place = tmp_path / "submission.csv"
    with pytest.raises(DataError, match="no lens has a p-value, so there is nothing to submit"):
        score_shards(
            model,
            [tmp_path / "flat.npy"],
            out=tmp_path / "scores",
            submission=place,
            progress=False,
        )
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text())
    assert (summary["failed"], summary["submitted"]) == (5, None)
    assert not place.exists()


def test_lenses_of_one_name_are_refused_and_nothing_is_left(model, tmp_path):
    images = LensImages.from_arrays(blobs(3, 1), ids=["a", "b", "a"])
    place = tmp_path / "submission.csv"
    with pytest.raises(DataError, match="2 lenses are called a, and a submission has one row"):
        score(model, images, submission=place, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_submission_that_fails_to_be_written_leaves_nothing(model, tmp_path, monkeypatch):
    place = tmp_path / "submission.csv"
    table = score(model, blobs(20, 1), progress=False)
    monkeypatch.setattr(OperatingPoint, "is_lumpy", lambda *_: np.zeros(19, bool))
    with pytest.raises(ValueError, match="shorter"):
        table.submission().write(place)
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_named_before_the_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(MeanImage, "_score_batch", None)
    place = tmp_path / "submission.csv"
    for choice, said in (
        ({"submission": tmp_path / "a.parquet"}, r"a submission is a file that ends in \.csv"),
        ({"submission": place, "out": place}, "are two files, and both are"),
        ({"fpr": 0.1}, "say where to write it with submission"),
        ({"lumpy_fraction": 0.1}, "say where to write it with submission"),
        ({"submission": place, "fpr": 0.001}, "no threshold for a false-positive rate of 0.001"),
        ({"submission": place, "fpr": 0.1, "lumpy_fraction": 0.5}, "give one of them"),
    ):
        with pytest.raises((DataError, ModelError), match=said):
            score(model, blobs(3, 1), progress=False, **choice)
    np.save(tmp_path / "shard.npy", blobs(3, 1))
    for choice in ({"submission": place, "fpr": 0.001}, {"submission": tmp_path / "a.ecsv"}):
        with pytest.raises((DataError, ModelError)):
            score_shards(
                model, [tmp_path / "shard.npy"], out=tmp_path / "scores", progress=False, **choice
            )


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process: exit status and standard output."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lumpylens", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return done.value.code, capsys.readouterr().out

    return run


def test_the_command_line_says_what_was_decided(model, survey, tmp_path, call):
    place = tmp_path / "submission.csv"
    words = ("score", model, survey, "--band", "F129", "--submission", place, "--quiet")
    status, out = call(*words, "--lumpy-fraction", 0.5)
    assert status == 1
    assert f"{place}: " in out
    assert "if 50% of the lenses are lumpy (as given); 2 without a p-value" in out
    status, out = call(*words, "--fpr", 0.1, "--json")
    facts = json.loads(out)
    assert facts["submission"] == str(place)
    assert facts["submitted"]["point"]["p_value_limit"] == 0.1
    assert facts["submitted"]["images"] == 60


@pytest.mark.slow
def test_shards_of_the_command_line(survey, tmp_path, call):
    np.save(tmp_path / "smooth.npy", blobs(200, 5))
    model = tmp_path / "model"  # of a detector that other processes know
    train(tmp_path / "smooth.npy", "pca", out=model, progress=False)
    place = tmp_path / "submission.csv"
    words = ("score", model, survey, "--band", "F129", "--cluster", "local:1", "--quiet")
    status, out = call(*words, "--out", tmp_path / "scores", "--submission", place, "--json")
    assert status == 1
    assert json.loads(out)["submitted"]["images"] == len(rows_of(place)) - 1 == 60
    assert call(*words)[0] == 2


def test_a_table_that_was_read_again_can_be_submitted(model, survey, tmp_path):
    table = score(model, survey, band="F129", out=tmp_path / "scores.csv", progress=False)
    again = ScoreTable.read(tmp_path / "scores.csv").submission()
    assert again.counts == table.submission().counts
    shutil.rmtree(survey)
    again.write(tmp_path / "submission.csv")
    assert len(rows_of(tmp_path / "submission.csv")) == 61
