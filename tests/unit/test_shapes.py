"""Images that were turned, mirrored or resized are told together where single ones are not."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2

from lumpylens.data.images import ImageBatch, LensImages
from lumpylens.detectors.domain import Domain
from lumpylens.detectors.layout import Layout
from lumpylens.detectors.pca import PCADetector
from lumpylens.detectors.shapes import Shapes, measured
from lumpylens.detectors.texture import Texture
from lumpylens.errors import DataWarning
from lumpylens.results.calibration import Calibration
from lumpylens.store.trained import TrainedModel

SIDE = 50


def blobs(count: int, seed: int, zoom: float = 1.0) -> np.ndarray:
    """Elliptical Gaussians whose long axes lie around 20 degrees, with some noise."""
    random = np.random.default_rng(seed)
    angle = np.radians(20 + 25 * random.normal(size=count))[:, None, None]
    long = zoom * random.uniform(6, 7, (count, 1, 1))
    short = 0.7 * long
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    light = np.exp(-((along / long) ** 2 + (across / short) ** 2) / 2)
    return (100 * light + random.normal(0, 0.5, light.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return Shapes.learn(blobs(400, seed=0))


def test_measures_are_those_of_the_second_moments():
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    wide = np.exp(-((x / 4) ** 2 + (y / 2) ** 2) / 2)
    aslant = np.exp(-(((x + y) / 4) ** 2 + ((x - y) / 2) ** 2) / 4)
    larger = np.exp(-((x / 5) ** 2 + (y / 2.5) ** 2) / 2)
    e1, e2, size = measured(np.stack([wide, aslant, wide.T, larger]).astype(np.float32)).T
    # Of ellipses with sides of 2 to 1, (4 - 1) / (4 + 1), as far as bins and the logarithm keep it.
    np.testing.assert_allclose([e1[0], e2[1], -e1[2]], 0.6, atol=0.05)
    np.testing.assert_allclose([e2[0], e1[1], e2[2]], 0, atol=1e-6)
    assert size[3] - size[0] == pytest.approx(np.log(5 / 4), abs=0.03)
    assert size[0] == pytest.approx(size[2], abs=1e-6)


def test_measures_do_not_depend_on_the_scale_of_the_pixels():
    pixels = blobs(20, seed=1)
    np.testing.assert_allclose(measured(1e-9 * pixels - 3e-8), measured(pixels), atol=1e-4)


def test_normal_images_together_are_not_remarked_on(shapes):
    values = measured(blobs(1000, seed=2))
    random = np.random.default_rng(0)
    sets = [values[random.choice(1000, 60, replace=False)] for _ in range(300)]
    assert [shapes.remark(chosen) for chosen in (values, *sets)] == [""] * 301


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pixels: np.rot90(pixels, 1, (1, 2)), "were they rotated or mirrored"),
        (lambda pixels: pixels[:, ::-1], "were they rotated or mirrored"),
        (lambda pixels: pixels.swapaxes(1, 2), "were they rotated or mirrored"),
        (lambda pixels: pixels[:, ::-1, ::-1], ""),
        (lambda pixels: pixels + 7, ""),
    ],
)
def test_turned_and_mirrored_images_are_told_together(change, said, shapes):
    remark = shapes.remark(measured(np.ascontiguousarray(change(blobs(200, seed=3)))))
    assert (said in remark) if said else (remark == "")


@pytest.mark.parametrize(("zoom", "said"), [(1.35, "% larger"), (0.75, "% smaller"), (1.005, "")])
def test_resized_images_are_told_beyond_what_substructure_does(zoom, said, shapes):
    remark = shapes.remark(measured(blobs(200, seed=4, zoom=zoom)))
    assert (said in remark) if said else (remark == "")
    assert "oriented" not in remark


def test_angles_are_named(shapes):
    turned = np.ascontiguousarray(np.rot90(blobs(300, seed=3), 1, (1, 2)))
    remark = shapes.remark(measured(turned))
    assert "theirs an ellipticity of 0." in remark
    # Rows upwards: np.rot90 turns from y to x, which for an axis is as far as from x to y.
    angles = [int(text.split()[0]) for text in remark.split(" at ")[1:]]
    assert angles == pytest.approx([-70, 20], abs=3)


def test_few_images_are_not_compared(shapes):
    turned = measured(np.ascontiguousarray(np.rot90(blobs(50, seed=3), 1, (1, 2))))
    assert shapes.remark(turned[:49]) == ""
    assert shapes.remark(turned) != ""


def test_limits_are_the_slack_and_the_error_of_both_means():
    known = Shapes(np.zeros(3), np.diag([4.0, 4.0, 9.0]), 100, np.array([0.1, 0.5]))
    assert known.distances(np.array([2.0, -2.0, 6.0])) == pytest.approx([np.sqrt(2), 2.0])
    errors = np.sqrt(0.05 * np.array([chi2.isf(1e-4, 2), chi2.isf(1e-4, 1)]))
    expected = np.array([0.1, 0.5]) + errors
    np.testing.assert_allclose(known.limits(25), expected)


def test_limits_import_no_statistics_which_take_a_second():
    script = (
        "import sys, numpy as np; from lumpylens.detectors.shapes import Shapes; "
        "Shapes(np.zeros(3), np.eye(3), 100, np.zeros(2)).limits(60); "
        "print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_angles_without_a_preference_tell_nothing():
    """Nothing distinguishes turned images where every angle is as frequent."""
    random = np.random.default_rng(0)
    pixels = np.stack([np.rot90(image, random.integers(4)) for image in blobs(600, seed=5)])
    isotropic = Shapes.learn(pixels[:400])
    turned = np.ascontiguousarray(np.rot90(pixels[400:], 1, (1, 2)))
    assert isotropic.remark(measured(turned)) == ""


def test_what_was_learned_survives_as_arrays(shapes):
    again = Shapes.from_arrays(shapes.arrays())
    turned = measured(np.ascontiguousarray(np.rot90(blobs(90, seed=3), 1, (1, 2))))
    assert again.remark(turned) == shapes.remark(turned) != ""
    with pytest.raises(ValueError, match="the shapes' slack has shape"):
        Shapes.from_arrays(shapes.arrays() | {"slack": np.zeros(3)})


def model_with(shapes: Shapes | None) -> TrainedModel:
    """A model that finds nothing odd in single images."""
    detector = PCADetector(max_components=3).fit(LensImages.from_arrays(blobs(20, seed=0)))
    detector.domain = Domain(np.full(4, -9.0), np.full(4, 9.0), shapes=shapes)
    return TrainedModel(detector, Calibration(np.arange(20.0)), seen={})


def test_a_score_of_turned_images_warns_once(shapes):
    turned = np.ascontiguousarray(np.rot90(blobs(150, seed=3), 1, (1, 2)))
    turned[0, 0, 0] = np.nan
    model = model_with(shapes)
    with pytest.warns(DataWarning, match="these images, taken together, are not") as caught:
        table = model.score(LensImages.from_arrays(turned))
    assert len(caught) == 1
    assert np.isfinite(table.p_value).sum() == 149, "it is a remark; every image may be normal"
    assert model.detector.score(turned).remark == shapes.remark(measured(turned[1:]))


def test_normal_sets_and_models_without_shapes_have_no_remark(shapes):
    normal = LensImages.from_arrays(blobs(150, seed=3))
    turned = LensImages.from_arrays(np.rot90(blobs(150, seed=3), 1, (1, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model_with(shapes).score(normal)
        model_with(None).score(turned)


def test_images_with_a_warning_of_their_own_are_not_counted(shapes):
    model = model_with(shapes)
    turned = np.ascontiguousarray(np.rot90(blobs(60, seed=3), 1, (1, 2)))
    turned[:20, :5] = 0
    assert model.detector.score(turned).remark != ""
    model.detector.domain = replace(model.detector.domain, one_value=0.01)
    scores = model.detector.score(turned)
    assert scores.trusted.sum() < 50
    assert scores.remark == ""


def test_a_domain_learns_stores_and_may_lack_shapes(monkeypatch):
    for slow in (Layout, Texture):
        monkeypatch.setattr(slow, "learn", lambda _: None)
    few = Domain.learn(ImageBatch(np.arange(20), blobs(20, seed=1)))
    assert few.shapes is None
    learned = Domain.learn(ImageBatch(np.arange(400), blobs(400, seed=0)))
    again = few.with_arrays(learned.arrays())
    np.testing.assert_array_equal(again.shapes.mean, learned.shapes.mean)
    assert again.with_arrays({}).shapes is None
