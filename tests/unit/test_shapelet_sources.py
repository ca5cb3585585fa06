"""The `physics` detector with shapelets as sources: learn, score, explain, store, refuse."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from lumpylens.detectors import Run, create
from lumpylens.detectors.physics.detector import PhysicsDetector
from lumpylens.errors import DataError, ModelError
from lumpylens.physics.source_detail import SourceDetail
from lumpylens.simulation import POPULATIONS, simulate
from lumpylens.store.folder import load_model, save_model

SETTINGS = {"source": "shapelets", "order": 4, "sample": 20, "near_epochs": 0}
DETAIL = SourceDetail((0.4, 0.2))


def euclid(count, seed):
    return simulate("euclid", count, seed=seed, sources="galaxies", progress=False)


@pytest.fixture(scope="module")
def plain():
    """A model that comes with the package, which knows Sersic sources."""
    return load_model("euclid-physics")


@pytest.fixture(scope="module")
def detailed(plain):
    """The same with detail in the sources, as if it had been learned."""
    detector, known = create("physics", **SETTINGS), plain.detector
    for name in ("image_shape", "domain", "quick", "usual_loss"):
        setattr(detector, name, getattr(known, name))
    learned = known.learned
    detector.learned = replace(
        learned,
        model=replace(learned.model, detail=DETAIL),
        population=learned.population.with_independent(DETAIL.variance),
    )
    return replace(plain, detector=detector)


def test_it_scores_and_explains_as_any_physics_detector(plain, detailed):
    images = euclid(6, 2)
    scores = detailed.detector.score(images)
    assert np.isfinite(scores.anomaly_score).all()
    assert set(scores.components) >= {"parameters", "residual", "perturbation", "free_mass"}
    # Less is left over than by a Sersic profile.
    sersic = plain.detector.score(images)
    assert np.mean(scores.components["residual"] < sersic.components["residual"]) > 0.8
    explanation = detailed.detector.explain(images[:1])[0]
    assert explanation.sentence
    assert {picture.name for picture in explanation.maps} == {"perturbation", "sensitivity"}
    # The coefficients are no numbers of the lens.
    assert len(explanation.surprises) == len(detailed.detector.learned.model.free)
    assert explanation.scores[0].value == pytest.approx(scores.anomaly_score[0], rel=1e-4)


def test_what_it_learned_comes_back(detailed, tmp_path):
    images = euclid(3, 3)
    before = detailed.detector.score(images).anomaly_score
    save_model(detailed, tmp_path / "model")
    after = load_model(tmp_path / "model").detector
    assert isinstance(after, PhysicsDetector)
    assert after.learned.model.detail == DETAIL
    assert after.config.source == "shapelets"
    np.testing.assert_array_equal(after.score(images).anomaly_score, before)
    settings = tomllib.loads((tmp_path / "model" / "config.toml").read_text())["settings"]
    assert (settings["source"], settings["order"]) == ("shapelets", 4)


def test_the_card_says_what_the_sources_are(plain, detailed):
    assert any("9 shapelets of order 3 to 4" in note for note in detailed.detector.card_notes())
    assert not any("shapelet" in note for note in plain.detector.card_notes())


def test_settings_are_those_of_an_estimator():
    assert clone(create("physics", **SETTINGS)).get_params()["source"] == "shapelets"
    assert create("physics").get_params()["source"] == "sersic"
    with pytest.raises(ModelError, match="setting source"):
        create("physics", source="pixels")
    with pytest.raises(ModelError, match="setting order"):
        create("physics", order=2)


def test_compressed_pictures_are_refused_in_one_line():
    pictures = simulate("slc", 12, progress=False)
    with pytest.raises(DataError, match="give linear images") as refusal:
        create("physics", **SETTINGS).fit(pictures)
    assert "\n" not in str(refusal.value)


@pytest.mark.slow
def test_detail_is_learned_with_all_else():
    linear = replace(
        POPULATIONS["slc"], output="linear", noise=0.05, noise_spread=0.0, sky=0.0,
        rectified=False, sources="galaxies",
    )  # fmt: skip
    detector = create("physics", **SETTINGS)
    detector.fit(simulate(linear, 24, seed=1, progress=False), run=Run())
    model, population = detector.learned.model, detector.learned.population
    assert model.detail.largest == 4
    assert model.detail.spread != (0.3, 0.3)
    free = len(model.free)
    assert len(population.mean) == free + 9
    np.testing.assert_allclose(population.covariance.diagonal()[free:], model.detail.variance)
    exam = detector.examiner.examine(simulate(linear, 6, seed=2, progress=False).stack())
    assert (exam.fitted.values[:, free:].abs().amax(dim=1) > 0.01).all()
