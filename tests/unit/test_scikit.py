"""What scikit-learn's users rely on: settings, signs, and refusals instead of guesses."""

from __future__ import annotations

import numpy as np
import pytest
from mean_image import MeanImage, blobs

from lumpylens.data.images import LensImages
from lumpylens.detectors import create
from lumpylens.errors import DataError, ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel


@pytest.fixture
def detector() -> MeanImage:
    return MeanImage().fit(blobs(200, seed=0))


def test_the_threshold_of_fit_is_that_of_its_validation_images(detector: MeanImage) -> None:
    held_out = detector.anomaly_score(blobs(200, seed=0)[9::10])
    # 20 images: one of them lies beyond the threshold for one in twenty
    assert detector.offset_ == -np.sort(held_out)[-1]
    given = MeanImage().fit(blobs(20, seed=0), validation=blobs(199, seed=1))
    assert given.offset_ == -np.sort(given.anomaly_score(blobs(199, seed=1)))[-10]
    assert 0.02 < np.mean(given.predict(blobs(400, seed=2)) == -1) < 0.1


def test_the_encoder_does_not_learn_from_the_images_of_its_threshold() -> None:
    lenses = simulate("slc", 36, seed=0)
    one, other = (
        create("encoder").fit(lenses[:30], validation=lenses[part])
        for part in (slice(30, 33), slice(33, 36))
    )
    np.testing.assert_array_equal(one.anomaly_score(lenses), other.anomaly_score(lenses))
    assert one.offset_ != other.offset_


def test_training_images_are_called_normal() -> None:
    images = blobs(100, seed=0)
    assert np.mean(create("pca", max_components=5).fit(images).predict(images) == 1) > 0.9
    found = create("pca", max_components=5).fit_predict(images)
    np.testing.assert_array_equal(
        found, create("pca", max_components=5).fit(images).predict(images)
    )


def test_an_image_without_a_score_has_no_sign(detector: MeanImage) -> None:
    pixels = blobs(6, seed=3)
    pixels[2, 3, 3] = np.nan
    images = LensImages.from_arrays(pixels, ids=[f"lens {k}" for k in range(6)])
    with pytest.raises(DataError, match=r"^1 of 6 images cannot be scored, .* lens 2: .*NaN.*;"):
        detector.predict(images)
    assert np.isnan(detector.decision_function(images)).tolist() == [k == 2 for k in range(6)]


def test_without_a_threshold_there_is_no_sign(tmp_path) -> None:
    foreign = np.exp(-9 * np.clip(blobs(20, seed=1), 0, 1))
    detector = MeanImage().fit(blobs(20, seed=0), validation=foreign)
    assert all(detector.score(foreign).warning)
    calibration = Calibration(detector.anomaly_score(blobs(20, seed=2)))
    for untold in (detector, saved_and_loaded(detector, calibration, tmp_path)):
        assert untold.offset_ is None
        for ask in (untold.predict, untold.decision_function):
            with pytest.raises(ModelError, match="mean-image has no threshold"):
                ask(blobs(3, seed=3))
        assert np.isfinite(untold.score_samples(blobs(3, seed=3))).all()


def saved_and_loaded(detector, calibration, folder):
    from lumpylens.detectors import DETECTORS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DETECTORS, MeanImage.name, "mean_image:MeanImage")
        save_model(TrainedModel(detector, calibration, {}), folder / "model")
        return load_model(folder / "model").detector


def test_labels_are_refused(detector: MeanImage) -> None:
    images = blobs(20, seed=0)
    for learn in (detector.fit, detector.fit_predict):
        with pytest.raises(DataError, match="fit takes no label"):
            learn(images, np.zeros(20))
    assert detector.fit(images, None) is detector


def test_other_settings_need_another_fit() -> None:
    images = blobs(20, seed=0)
    detector = create("pca", max_components=3).fit(images)
    before = detector.anomaly_score(images)
    np.testing.assert_array_equal(
        detector.set_params(max_components=3).anomaly_score(images), before
    )
    for wrong, said in (({"max_component": 2}, "did you mean"), ({"max_components": 0}, "greater")):
        with pytest.raises(ModelError, match=said):
            detector.set_params(**wrong)
    np.testing.assert_array_equal(detector.anomaly_score(images), before)
    assert detector.set_params(max_components=2) is detector
    assert detector.get_params() == {"seed": 0, "max_components": 2}
    with pytest.raises(ModelError, match="has not been trained"):
        detector.predict(images)
