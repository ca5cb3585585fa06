"""Maps of where a score comes from: known answers, and what each detector says beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mean_image import MeanImage, blobs
from numpy.typing import NDArray

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors import create
from lumpylens.detectors.base import Detector, to_unit_range
from lumpylens.detectors.loss import LossSum, explain_loss
from lumpylens.detectors.maps import circle_radius_px, sums_in_circles
from lumpylens.detectors.outcome import BatchScores
from lumpylens.detectors.pixel.detector import PixelDetector
from lumpylens.detectors.pixel.explain import explain_shift, radial_slope
from lumpylens.errors import ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.results.explanation import Explanation, ScorePart
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel

SHAPE = (60, 90)
RADIUS = 2


def batch_of(image: np.ndarray, scale: float | None = None) -> ImageBatch:
    return ImageBatch(np.arange(1), image[None].astype(np.float32), pixel_scale_arcsec=scale)


def test_sums_are_over_circles_and_nothing_lies_outside() -> None:
    assert circle_radius_px(SHAPE) == RADIUS
    values = np.zeros(SHAPE)
    values[10, 70] = 3.0
    sums = sums_in_circles(values)
    y, x = np.indices(SHAPE)
    inside = np.hypot(x - 70, y - 10) <= RADIUS
    np.testing.assert_allclose(sums, 3.0 * inside, atol=1e-9)
    # A quarter of the circle around a corner: 1 + 2 + 3 pixels.
    assert sums_in_circles(np.ones(SHAPE))[0, 0] == pytest.approx(6)


# -- squared errors ---------------------------------------------------------------------------


def rebuilt_badly() -> tuple[np.ndarray, np.ndarray]:
    """An image of range 1 and its reconstruction: wrong by 0.4 at one pixel, by 0.3 at another."""
    image = np.zeros(SHAPE)
    image[30, 45] = 1.0
    reconstruction = image.copy()
    reconstruction[30, 45] -= 0.4
    reconstruction[20, 80] -= 0.3
    return image, reconstruction.astype(np.float32)


def test_without_the_usual_the_largest_part_of_the_error_is_named() -> None:
    image, reconstruction = rebuilt_badly()
    found = explain_loss(batch_of(image), reconstruction, None, (ScorePart("anomaly_score", 1),))
    # 0.16 of 0.25
    assert found.sentence == (
        "Squared error of the reconstruction 4.6e-05 per pixel (image on [0, 1]); its largest "
        "part, 64 %, lies within 2 px of column 45, row 30"
    )
    assert (found.peak.column_px, found.peak.row_px) == (45, 30)
    assert found.maps[0].values.max() == pytest.approx(64)
    assert found.maps[0].values[20, 80] == pytest.approx(36)


def test_what_is_usual_does_not_stand_out() -> None:
    image, reconstruction = rebuilt_badly()
    usual = np.zeros(SHAPE, np.float32)
    usual[30, 45] = 0.16
    usual[5, 5] = 0.05
    found = explain_loss(batch_of(image, scale=0.1), reconstruction, usual, ())
    # 0.25 of 0.21; the excess is 0.09, and 0.09 of 0.25 lies there
    assert found.sentence == (
        "Squared error of the reconstruction 1.2 times that of normal images; it exceeds that of "
        "normal images most within 2 px of column 80, row 20 (x = +3.55″, y = −0.95″ from the "
        "middle), "
        "where 36 % of it lies"
    )
    values = found.maps[0].values
    assert values[20, 80] == pytest.approx(900 / 21)
    assert values[30, 45] == pytest.approx(0, abs=1e-3)
    assert values[5, 5] == pytest.approx(-500 / 21)


def test_the_usual_error_is_the_mean_over_images() -> None:
    random = np.random.default_rng(0)
    pixels = random.random((5, 6, 7)).astype(np.float32)
    reconstruction = random.random((5, 6, 7)).astype(np.float32)
    losses = LossSum()
    assert losses.mean is None
    losses.add(pixels[:2], reconstruction[:2])
    losses.add(pixels[2:], reconstruction[2:])
    spread = np.ptp(pixels, axis=(1, 2))[:, None, None]
    expected = np.square((pixels - reconstruction) / spread).mean(axis=0)
    np.testing.assert_allclose(losses.mean, expected, rtol=1e-5)


@pytest.fixture(scope="module")
def trained() -> MeanImage:
    return MeanImage().fit(blobs(60, seed=0), validation=blobs(30, seed=1))


def test_any_detector_with_a_reconstruction_knows_what_is_usual(
    trained: MeanImage, tmp_path: Path
) -> None:
    check = blobs(30, seed=1)
    squares = np.square(check - trained.mean) / np.ptp(check, axis=(1, 2))[:, None, None] ** 2
    np.testing.assert_allclose(trained.usual_loss, squares.mean(axis=0), rtol=1e-4)
    calibration = Calibration(trained.anomaly_score(blobs(49, seed=2)))
    model = TrainedModel(trained, calibration, {})
    folder = save_model(model, tmp_path / "model")
    again = load_model(folder)
    images = LensImages.from_arrays(blobs(3, seed=3, bump=0.8))
    for first, second in zip(model.explain(images), again.explain(images), strict=True):
        assert first.sentence == second.sentence
        assert "times that of normal images" in first.sentence
        assert first.sentence.endswith("score above all 49 normal images")
        np.testing.assert_array_equal(first.maps[0].values, second.maps[0].values)


def test_a_model_that_does_not_know_what_is_usual_explains_without(
    trained: MeanImage, tmp_path: Path
) -> None:
    older = MeanImage().fit(blobs(60, seed=0))
    older.usual_loss = None
    model = TrainedModel(older, Calibration(np.arange(9.0)), {})
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.detector.usual_loss is None
    found = loaded.explain(LensImages.from_arrays(blobs(1, seed=3)))[0]
    assert "per pixel (image on [0, 1])" in found.sentence
    older.usual_loss = np.ones((3, 3), np.float32)
    with pytest.raises(ModelError, match=r"usual/loss is no squared error of 24x24"):
        load_model(save_model(model, tmp_path / "wrong"))


def test_a_new_fit_forgets_what_was_usual() -> None:
    detector = MeanImage().fit(blobs(60, seed=0))
    before = detector.usual_loss
    detector.fit(0.5 * blobs(60, seed=5))
    assert not np.array_equal(detector.usual_loss, before)


def test_a_planted_spot_is_found_by_what_cannot_be_rebuilt() -> None:
    detector = create("pca", max_components=10).fit(blobs(100, seed=0))
    for found in detector.explain(blobs(5, seed=3, bump=0.8)):
        assert found.peak.column_px == pytest.approx(11.5 + 6, abs=2)
        assert found.peak.row_px == pytest.approx(11.5, abs=2)


# -- without a map ----------------------------------------------------------------------------


class Brightness(MeanImage):
    """A detector of one's own that has a score and nothing else."""

    name = "brightness"
    components = ()

    def _score_batch(self, batch: ImageBatch) -> BatchScores:
        return BatchScores(batch.pixels.mean(axis=(1, 2)).astype(np.float64))


def test_a_detector_that_knows_no_place_says_so() -> None:
    found = Brightness().fit(blobs(60, seed=0)).explain(blobs(1, seed=1))[0]
    assert found.sentence.startswith("brightness gives the image a score of ")
    assert found.peak_words == (
        "no map: brightness does not say which part of an image its score comes from"
    )


def test_ocsvm_says_on_which_side_an_image_lies() -> None:
    detector = create("ocsvm", n_components=20).fit(blobs(100, seed=0))
    inside, outside = (detector.explain(blobs(9, seed=3, bump=bump)) for bump in (0.0, 3.0))
    for found in (*inside, *outside):
        side = "outside" if found.scores[0].value > 0 else "inside"
        assert found.sentence.startswith(f"Lies {side} the boundary")
    assert {found.scores[0].value > 0 for found in outside} == {True}
    assert not all(found.scores[0].value > 0 for found in inside)


@pytest.fixture(scope="module")
def encoder() -> Detector:
    return create("encoder").fit(simulate("slc", 60, seed=1))


def test_encoder_names_the_number_that_is_unusual(encoder: Detector) -> None:
    heavy = encoder.explain(simulate("slc", 4, seed=8, substructure="points"))
    named = [found.surprises[0].parameter for found in heavy]
    assert named.count("Einstein radius") >= 3
    for found in heavy:
        assert found.surprises[0].parameter in found.sentence
        assert len(found.surprises) == 13
        sigma = [abs(surprise.sigma) for surprise in found.surprises]
        assert sigma == sorted(sigma, reverse=True)


# -- shifts -----------------------------------------------------------------------------------


def test_slopes_add_up_to_that_of_a_bend_of_the_whole_image() -> None:
    """The derivative by the displacement of all light, against a bend that is carried out."""
    detector = load_model("slc-pixel").detector
    assert isinstance(detector, PixelDetector)
    network = detector.network
    images = simulate("slc", 3, seed=5, substructure="points")
    for unit in to_unit_range(images.stack().pixels):

        def score(bend: float, unit: NDArray[np.float32] = unit) -> float:
            off = detector._look(torch.from_numpy(unit)[None], bend)[0][0] - detector.centre
            return float(off @ detector.precision @ off)

        step = 0.05
        expected = (score(step) - score(-step)) / (2 * step * network.unit_px)
        slope = radial_slope(network, detector.centre, detector.precision, unit)
        assert abs(expected) > 100
        assert slope.sum() == pytest.approx(expected, rel=0.12)
    assert all(weight.grad is None for weight in network.parameters())


def shift(score: float, outward: float, free: float) -> tuple[ScorePart, ...]:
    values = {"anomaly_score": score, "outward_px": outward, "free_outward": free}
    return tuple(ScorePart(name, value) for name, value in values.items())


def test_a_shift_is_said_in_its_own_numbers() -> None:
    image = np.random.default_rng(0).random(SHAPE)
    slope = np.zeros(SHAPE)
    slope[12, 70] = 80.0
    found = explain_shift(batch_of(image, scale=0.05), shift(500.0, 1.7, 100.0), slope)
    assert found.sentence == (
        "Arcs lie 1.7 px (0.085″) farther out than in smooth lenses (20 sigma of normal images): "
        "this shift makes up 80 % of the score; the score would fall fastest if the light at "
        "column 70, row 12 (x = +1.28″, y = −0.88″ from the middle) were moved inward"
    )
    assert (found.peak.column_px, found.peak.row_px) == (70, 12)
    assert found.peak.text == "score falls by 80 per px that the light within 2 px is moved inward"
    inward = explain_shift(batch_of(image), shift(500.0, -1.7, 100.0), -slope).sentence
    assert inward.startswith("Arcs lie 1.7 px farther in than in smooth lenses")
    assert inward.endswith("were moved outward")


def test_no_shift_and_no_place_is_named_where_nothing_is_unusual() -> None:
    image = np.random.default_rng(0).random(SHAPE)
    slope = np.zeros(SHAPE)
    slope[12, 70] = 39.0
    found = explain_shift(batch_of(image), shift(108.0, 0.3, 100.0), slope)
    assert found.sentence == (
        "Arcs lie about where those of smooth lenses do (0.3 px farther out): a shift makes up "
        "7 % of the score; no place stands out"
    )


def test_the_shipped_model_explains_a_lens_with_added_mass() -> None:
    model = load_model("slc-pixel")
    heavy = model.explain(simulate("slc", 3, seed=5, substructure="points"))
    for found in heavy:
        assert "px farther out than in smooth lenses" in found.sentence
        assert isinstance(found, Explanation)
        assert found.maps[0].name == "shift"
        # Added mass moves light outward: moved inward again, the score falls.
        assert found.maps[0].values.sum() > 0
        # The steepest place is one with light.
        row, column = int(found.peak.row_px), int(found.peak.column_px)
        assert found.image[row - 4 : row + 5, column - 4 : column + 5].max() > 20
