"""`train` and `evaluate` decode each image once, in a bounded part of the memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from mean_image import blobs

from lumpylens.data import images as images_module
from lumpylens.data.image import LensImage
from lumpylens.data.images import LensImages
from lumpylens.detectors import DETECTORS
from lumpylens.verbs.evaluate import evaluate
from lumpylens.verbs.train import train

SIDE = 24
IMAGE_BYTES = 4 * SIDE * SIDE


@dataclass
class CountingSource:
    """Images that must be decoded, as those of files; `decodes` counts, by position."""

    pixels: np.ndarray
    noise: np.ndarray | None = None
    location: str = "counted"
    remarks: tuple[str, ...] = ()
    decodes: Counter = field(default_factory=Counter)

    @property
    def ids(self):
        return [f"{self.location} {k}" for k in range(len(self.pixels))]

    @property
    def labels(self):
        return [-1] * len(self.pixels)

    def load(self, position):
        self.decodes[position] += 1
        noise = None if self.noise is None else self.noise[position]
        return LensImage.checked(self.ids[position], self.pixels[position], noise=noise)


@pytest.fixture(autouse=True)
def mean_image(monkeypatch):
    monkeypatch.setitem(DETECTORS, "mean-image", "mean_image:MeanImage")


@pytest.fixture
def memory(monkeypatch):
    """Set how many images of the tests may be kept decoded."""

    def allow(count):
        allowed = count * IMAGE_BYTES / images_module.DECODED_SHARE
        monkeypatch.setattr(images_module, "memory_bytes", lambda: allowed)

    return allow


def collection(count, seed, bump=0.0):
    source = CountingSource(blobs(count, seed, bump), location=f"seed {seed}")
    return LensImages.from_source(source), source.decodes


def test_train_decodes_each_image_once():
    images, decodes = collection(160, seed=0)
    train(images, "mean-image", progress=False)
    assert decodes == Counter(range(160))


@pytest.mark.slow
def test_evaluate_decodes_each_image_once_with_report_and_explanations(tmp_path):
    model = train(blobs(160, seed=0), "mean-image", progress=False)
    normal, decodes = collection(60, seed=1)
    anomalous, others = collection(40, seed=2, bump=0.5)
    evaluate(
        model, normal=normal, anomalous=anomalous, out=tmp_path / "report", explain=8,
        progress=False,
    )  # fmt: skip
    assert (tmp_path / "report" / "report.html").is_file()
    assert decodes == Counter(range(60))
    assert others == Counter(range(40))


def test_what_does_not_fit_is_decoded_again_and_nothing_else_changes(memory):
    results = []
    for fitting in (160, 100, 0):
        memory(fitting)
        images, decodes = collection(160, seed=0)
        model = train(images, "mean-image", progress=False)
        results.append((model.detector.mean, model.calibration.arrays()["scores"]))
        assert sum(times == 1 for times in decodes.values()) == fitting
    for mean, scores in results[1:]:
        np.testing.assert_array_equal(mean, results[0][0])
        np.testing.assert_array_equal(scores, results[0][1])


def test_noise_maps_count_as_well(memory):
    memory(10)
    pixels = blobs(10, seed=0)
    source = CountingSource(pixels, noise=np.ones_like(pixels))
    with LensImages.from_source(source).decoded_once() as kept:
        for _ in range(2):
            assert all(item.noise is not None for item in kept)
    assert sorted(source.decodes.values()) == [1] * 5 + [2] * 5


def test_after_the_block_nothing_is_kept():
    images, decodes = collection(5, seed=0)
    with images.decoded_once() as kept:
        assert kept[3].image is kept[3].image
        part = kept[2:]
        assert (kept.ids, kept.location) == (images.ids, images.location)
    for _ in range(2):
        assert part[1].image is not None
    assert decodes == {3: 3}


def test_a_kept_image_does_not_hold_the_array_of_its_file():
    images, _ = collection(5, seed=0)
    assert images[0].image.base is not None
    with images.decoded_once() as kept:
        assert kept[0].image.base is None


def test_arrays_in_memory_are_not_kept_twice():
    pixels = blobs(3, seed=0)
    with LensImages.from_arrays(pixels).decoded_once() as kept:
        assert np.shares_memory(kept[0].image, pixels)


def test_a_stack_decodes_each_image_once():
    images, decodes = collection(5, seed=0)
    np.testing.assert_array_equal(images.stack().pixels, blobs(5, seed=0))
    assert decodes == Counter(range(5))
