"""The collection itself: building, choosing, stacking, showing."""

from __future__ import annotations

import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
from mean_detector import MeanDetector

from lumpylens.data import LensImage, LensImages
from lumpylens.data.source import ArraySource, joined
from lumpylens.errors import DataError, DataWarning


@pytest.fixture
def pixels():
    return np.random.default_rng(0).random((6, 8, 10)).astype(np.float32)


def test_indexing_reads_one_and_slicing_reads_none(pixels):
    images = LensImages.from_arrays(pixels, labels=[0, 0, 0, 1, 1, -1])
    np.testing.assert_array_equal(images[-1].image, pixels[5])
    assert images[1:3].ids == ["1", "2"]
    assert images[[4, 0]].ids == ["4", "0"]
    assert images[images.labels == 1].ids == ["3", "4"]
    assert images[[]].ids == []
    assert [item.id for item in images] == images.ids
    with pytest.raises(IndexError):
        images[6]


def test_joining_keeps_order(pixels):
    images = LensImages.from_arrays(pixels[:2]) + LensImages.from_arrays(pixels[2:], ids="abcd")
    assert images.ids == ["0", "1", "a", "b", "c", "d"]
    np.testing.assert_array_equal(images.stack().pixels, pixels)
    np.testing.assert_array_equal(images[[5, 1]].stack().pixels, pixels[[5, 1]])


def test_leading_axes_are_flattened_and_a_single_image_is_one(pixels):
    assert len(LensImages.from_arrays(pixels.reshape(2, 3, 1, 8, 10))) == 6
    assert len(LensImages.from_arrays(pixels[0])) == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (np.zeros(7), "no height and width"),
        (np.zeros((4, 32, 32, 3)), "colours last"),
        (np.zeros((4, 3, 32, 32)), r"colours first.*array.reshape\(-1, 32, 32\)"),
        (np.zeros((9, 4096)), r"flattened image in each row: array.reshape\(-1, 64, 64\)"),
        (np.zeros((2, 8, 8), complex), "not real numbers"),
        ([["a", "b"], ["c", "d"]], "not real numbers"),
        ([[1, 2], [3]], "array of numbers"),
    ],
)
def test_arrays_that_are_no_images_are_refused_in_one_line(bad, said):
    with pytest.raises(DataError, match=said) as caught:
        LensImages.from_arrays(bad)
    assert "\n" not in str(caught.value)


def test_arrays_that_do_not_belong_together_are_refused(pixels):
    for wrong in (
        {"ids": ["a"]},
        {"labels": [0]},
        {"labels": [0, 1, 2, 0, 1, 2]},
        {"noise": pixels[:, :4]},
        {"noise": pixels[:2]},
        {"psf": np.ones((4, 3, 3))},
    ):
        with pytest.raises(DataError):
            LensImages.from_arrays(pixels, **wrong)


def test_masked_pixels_are_a_defect(pixels):
    masked = np.ma.masked_greater(pixels, 0.999 * pixels[2].max())
    images = LensImages.from_arrays(masked)
    assert "NaN" in images[2].error


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: image.fill(3), "constant image: every pixel is 3"),
        (lambda image: image.put(0, np.nan), "1 of 80 pixels are NaN"),
        (lambda image: image.put(1, -np.inf), "NaN or infinite"),
        (lambda image: image.put(1, -1e30), "too large"),
    ],
)
def test_a_defect_is_a_reason_and_the_rest_goes_on(pixels, change, said):
    change(pixels[3])
    images = LensImages.from_arrays(pixels)
    assert said in images[3].error
    failed = {}
    batches = list(images.batches(2, failed=failed))
    assert list(failed) == [3]
    assert [list(batch.positions) for batch in batches] == [[0, 1], [2, 4], [5]]
    with pytest.raises(DataError, match="1 of 6 images .* the first is 3"):
        images.stack()


def test_double_precision_that_overflows_is_a_defect_not_a_warning():
    assert LensImages.from_arrays(np.array([[1e300, 0.0], [1.0, 2.0]]))[0].error


def test_another_shape_is_left_out_with_a_reason(pixels):
    images = LensImages.from_arrays(pixels) + LensImages.from_arrays(pixels[:, :4])
    failed = {}
    assert sum(len(batch) for batch in images.batches(4, failed=failed)) == 6
    assert failed[6] == "image is 4x10 pixels, expected 8x10"


def test_noise_and_psf_are_stacked_only_if_every_image_has_them(pixels):
    psf = np.full((3, 3), 2.0)
    both = LensImages.from_arrays(pixels, noise=pixels + 1, psf=psf, pixel_scale_arcsec=0.05)
    batch = both.stack()
    np.testing.assert_array_equal(batch.noise, pixels + 1)
    assert batch.psf.shape == (6, 3, 3)
    assert batch.psf[0].sum() == pytest.approx(1)
    assert batch.pixel_scale_arcsec == 0.05
    mixed = (both + LensImages.from_arrays(pixels)).stack()
    assert mixed.noise is None
    assert mixed.psf is None
    assert mixed.pixel_scale_arcsec is None


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"noise": np.zeros((8, 10))}, "not positive"),
        ({"noise": np.full((8, 10), np.nan)}, "NaN"),
        ({"noise": np.ones((8, 8))}, r"noise map has shape \(8, 8\)"),
        ({"psf": np.ones((4, 4))}, "odd"),
        ({"psf": np.zeros((3, 3))}, "add up to 0"),
        ({"psf": np.ones(3)}, "two-dimensional"),
        ({"psf": np.full((3, 3), np.nan)}, "add up to nan"),
        ({"noise": np.full((8, 10), "x")}, "not real numbers"),
    ],
)
def test_bad_companions_are_defects(pixels, extra, said):
    item = LensImage.checked("a", pixels[0], **extra)
    assert re.search(said, item.error)


def test_batches_do_not_depend_on_their_size(pixels):
    images = LensImages.from_arrays(pixels)
    for size in (1, 4, 100):
        got = np.concatenate([batch.pixels for batch in images.batches(size)])
        np.testing.assert_array_equal(got, pixels)


def test_opening_is_idempotent_and_accepts_arrays(pixels):
    images = LensImages.open(pixels, pixel_scale_arcsec=0.1)
    assert LensImages.open(images) is images
    assert images[0].pixel_scale_arcsec == 0.1
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(DataError, match="positive"):
            LensImages.open(pixels, pixel_scale_arcsec=wrong)


def test_it_shows_itself_briefly(pixels):
    pixels[1] = 0
    images = LensImages.from_arrays(
        pixels, ids=["<b>", *"abcde"], labels=[0, 1, 1, 1, -1, -1], noise=pixels + 1
    )
    assert repr(images) == "<LensImages: 6 from memory: 1 normal, 3 anomalous, 2 unlabelled>"
    assert repr(images[0]) == "<LensImage <b>: 8x10, normal with noise>"
    assert repr(images[1]) == "<LensImage a: constant image: every pixel is 0>"
    page = images._repr_html_()
    assert page.count("data:image/png;base64,") == 5
    assert "<b>" not in page
    assert "constant image" in page
    assert "&lt;b&gt;" in images[0]._repr_html_()
    assert "0 from nowhere" in repr(LensImages((), np.empty((0, 2), int)))


def test_one_psf_serves_all_images_and_several_one_each(pixels):
    wide, narrow = np.ones((3, 3)), np.zeros((3, 3))
    narrow[1, 1] = 1
    count = len(pixels)
    each = LensImages.from_arrays(pixels, psf=[wide] * (count - 1) + [narrow])
    assert [float(item.psf[1, 1]) for item in each] == pytest.approx([1 / 9] * (count - 1) + [1])
    assert {float(item.psf[1, 1]) for item in LensImages.from_arrays(pixels, psf=narrow)} == {1.0}


def test_8_bit_pictures_are_said_to_be_stretched(pixels):
    assert LensImages.from_arrays(pixels).notes() == []
    assert LensImages.from_arrays(pixels)[[]].notes() == []
    (note,) = LensImages.from_arrays(pixels, stretched=True).notes()
    assert "not linear" in note


def test_it_travels_to_other_processes(pixels):
    images = pickle.loads(pickle.dumps(LensImages.from_arrays(pixels)[2:]))
    np.testing.assert_array_equal(images.stack().pixels, pixels[2:])


def test_more_images_than_memory_are_refused_before_they_are_read(monkeypatch):
    from lumpylens.data import checks

    images = LensImages.from_arrays(np.random.default_rng(0).random((10, 8, 8)))
    monkeypatch.setattr(checks, "memory_bytes", lambda: 4 * 10 * 64 * 4.0)
    assert len(images.stack()) == 10
    monkeypatch.setattr(checks, "memory_bytes", lambda: 4 * 10 * 64 * 4.0 - 4)
    with pytest.raises(DataError, match="10 images of 8x8 pixels need .* cut them to the lens"):
        images.stack()


def test_memory_of_this_machine():
    from lumpylens.data.checks import memory_bytes

    assert 2**28 < memory_bytes() < 2**50


def test_no_image_loses_its_noise_or_psf_to_its_neighbours():
    pixels = np.random.default_rng(0).random((6, 8, 8))
    bare = LensImages.from_arrays(pixels[:2])
    noisy = LensImages.from_arrays(pixels[2:4], noise=np.full((8, 8), 0.1))
    sharp = LensImages.from_arrays(pixels[4:], noise=np.full((8, 8), 0.1), psf=np.eye(3) / 3)
    both = (bare + noisy + sharp)[[0, 2, 4, 1, 3, 5]]
    batches = list(both.batches(4))
    assert sorted(sorted(batch.positions.tolist()) for batch in batches) == [[0, 3], [1, 4], [2, 5]]
    for batch in batches:
        assert (batch.noise is None) == (0 in batch.positions)
        assert (batch.psf is None) == (2 not in batch.positions)
        np.testing.assert_array_equal(batch.pixels, both.stack().pixels[batch.positions])
    assert both.stack().positions.tolist() == list(range(6))
    assert both.stack().noise is None
    assert both[[1, 2]].stack().noise.shape == (2, 8, 8)


class SourceWithRemarks(ArraySource):
    def load(self, position):
        return replace(super().load(position), remarks=(f"image {position % 2} has a mask",))


def test_remarks_of_sources_and_of_images_are_said_once_and_together(pixels):
    parts = [
        SourceWithRemarks(pixels, list("abcde")[: len(pixels)], [-1] * len(pixels), remarks=[text])
        for text in ("b.csv is not used", "mask.fits is not used")
    ]
    images = LensImages.from_source(joined(parts, "here"))
    expected = [
        "b.csv is not used", "mask.fits is not used", "image 0 has a mask", "image 1 has a mask",
    ]  # fmt: skip
    assert images.remarks() == images.notes() == expected
    with pytest.warns(DataWarning, match="^here: b.csv is not used; mask.fits is not used; image"):
        assert images.warned() is images
    assert (images[:0]).remarks() == []
    both = LensImages.from_source(parts[0]) + LensImages.from_source(parts[1])
    assert both[:1].remarks() == ["b.csv is not used", "image 0 has a mask"]


def test_images_without_remarks_warn_of_nothing(pixels, recwarn):
    LensImages.from_arrays(pixels).warned()
    assert not recwarn.list


def test_a_band_is_chosen_of_files_alone(pixels):
    for data in (pixels, LensImages.from_arrays(pixels)):
        with pytest.raises(DataError, match="band='VIS' was given for images that are read"):
            LensImages.open(data, band="VIS")


def test_scales_that_differ_by_rounding_are_one(pixels):
    """Turned coordinate systems give 0.05 in all but the last digits."""
    for other, common in ((0.05 * (1 + 5e-7), 0.05), (0.05 * (1 + 5e-6), None), (None, None)):
        parts = [
            LensImages.from_arrays(pixels[:1], pixel_scale_arcsec=scale) for scale in (0.05, other)
        ]
        assert (parts[0] + parts[1]).stack().pixel_scale_arcsec == common


def edge_filled(image, columns, value=0.0):
    filled = image.copy()
    filled[:, :columns] = value
    return filled


@pytest.mark.parametrize("value", [0.0, -99.0])
def test_a_filled_edge_is_a_remark(value):
    sky = np.random.default_rng(0).normal(1, 0.1, (64, 64))
    images = LensImages.from_arrays(np.stack([sky, edge_filled(sky, 20, value)]))
    assert images[0].remarks == ()
    (remark,) = images[1].remarks
    assert remark.startswith(f"31% of the pixels have the same value, {value:g}")
    assert images[1].error == ""
    assert LensImages.from_arrays(edge_filled(sky, 2)[None])[0].remarks == ()


def test_counts_of_few_photons_and_black_sky_of_pictures_are_no_filled_edge():
    counts = np.random.default_rng(0).poisson(0.5, (64, 64))
    assert LensImages.from_arrays(counts[None])[0].remarks == ()
    picture = np.clip(np.random.default_rng(0).normal(-20, 30, (64, 64)), 0, 255).astype(np.uint8)
    picture[:, :40] = 0
    for values in (picture, picture / 255):
        assert LensImages.from_arrays(values[None])[0].remarks == ()


def test_a_detector_warns_of_a_filled_edge_unless_it_learned_from_some(tmp_path):
    seed = np.random.default_rng(0)
    sky = seed.normal(1, 0.1, (40, 32, 32)).astype(np.float32)
    whole, filled = sky[0], edge_filled(sky[0], 10, value=1.0)
    scores = MeanDetector().fit(sky[1:]).score(np.stack([whole, filled]))
    assert scores.warning[0] == ""
    assert (
        "31% of its pixels have the same value, in training images at most 0%" in scores.warning[1]
    )
    assert list(scores.trusted) == [True, False]
    edges = np.stack([edge_filled(image, 10, value=1.0) for image in sky[1:]])
    assert MeanDetector().fit(edges).score(filled[None]).warning == [""]


def test_a_framed_image_is_the_middle_or_has_a_border_of_sky():
    image = np.arange(7 * 10, dtype=np.float32).reshape(7, 10)
    item = LensImage.checked("a", image, noise=image + 1, psf=np.ones((3, 3)))
    smaller = item.framed((3, 4))
    np.testing.assert_array_equal(smaller.image, image[2:5, 3:7])
    np.testing.assert_array_equal(smaller.noise, image[2:5, 3:7] + 1)
    assert smaller.full_shape == (7, 10)
    larger = item.framed((10, 12))
    np.testing.assert_array_equal(larger.image[2:9, 1:11], image)
    edge = np.concatenate([image[[0, -1]].ravel(), image[:, [0, -1]].ravel()])
    assert (larger.image[[0, 1, 9]] == np.median(edge)).all()
    assert (larger.image[:, [0, 11]] == np.median(edge)).all()
    mixed = item.framed((3, 12))
    np.testing.assert_array_equal(mixed.image[:, 1:11], image[2:5])
    assert item.framed((7, 10)) is item


def test_larger_images_are_framed_where_that_is_allowed():
    images = LensImages.from_arrays(np.random.default_rng(0).random((2, 9, 9)))
    images += LensImages.from_arrays(np.random.default_rng(1).random((1, 5, 5)))
    failed: dict[int, str] = {}
    (batch,) = images.batches(8, shape=(7, 7), least=(7, 7), failed=failed)
    assert (batch.pixels.shape, batch.framed) == ((2, 7, 7), 2)
    assert failed == {2: "image is 5x5 pixels, at least 7x7 are needed"}
    (batch,) = images.batches(8, shape=(7, 7), least=(5, 5))
    assert (len(batch), batch.framed) == (3, 3)
