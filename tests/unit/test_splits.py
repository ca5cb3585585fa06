"""Splits by content: stable, disjoint, independent of names, order and format."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumpylens.data import LensImages
from lumpylens.data.splits import (
    PARTS,
    check_disjoint,
    contained,
    digests_of,
    part_of,
    pixel_digest,
    split,
)
from lumpylens.errors import DataError


def noise(n, shape=(6, 7), seed=0):
    return np.random.default_rng(seed).random((n, *shape)).astype(np.float32)


def test_the_digest_is_what_the_page_says():
    image = noise(1)[0]
    expected = hashlib.blake2b(b"6x7;float32;" + image.tobytes(), digest_size=16).digest()
    assert pixel_digest(image) == expected


def test_equal_pixels_have_equal_digests_in_any_memory_layout():
    image = noise(1)[0]
    image[0, 0] = 0.0
    negative_zero = image.copy()
    negative_zero[0, 0] = -0.0
    for same in (image.astype(">f4"), np.asfortranarray(image), image[::-1][::-1], negative_zero):
        assert pixel_digest(same) == pixel_digest(image)
    assert pixel_digest(image.reshape(7, 6)) != pixel_digest(image)
    other = image.copy()
    other[3, 3] = np.nextafter(other[3, 3], np.float32(2))
    assert pixel_digest(other) != pixel_digest(image)


def test_parts_have_the_stated_shares():
    digests = [
        hashlib.blake2b(bytes([k % 256, k // 256]), digest_size=16).digest() for k in range(20000)
    ]
    counts = dict.fromkeys(PARTS, 0)
    for digest in digests:
        counts[part_of(digest)] += 1
    shares = np.array([counts[part] for part in PARTS]) / len(digests)
    # Four standard deviations of a binomial share.
    expected = np.array([0.7, 0.1, 0.1, 0.1])
    assert (abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / len(digests))).all()


@pytest.mark.parametrize(
    ("first", "part"),
    [(0.0, "train"), (0.6999, "train"), (0.7001, "validation"), (0.8001, "calibration"),
     (0.9001, "test"), (0.9999, "test")],
)  # fmt: skip
def test_part_boundaries(first, part):
    assert part_of(int(first * 2**64).to_bytes(8, "big") + bytes(8)) == part


@given(order=st.permutations(range(30)), names=st.lists(st.text(), min_size=30, max_size=30))
@settings(max_examples=20, deadline=None)
def test_a_split_depends_on_content_alone(order, names):
    pixels = noise(30)
    plain, shuffled = (
        split(LensImages.from_arrays(pixels)),
        split(LensImages.from_arrays(pixels[order], ids=names)),
    )
    for part in PARTS:
        assert {d.tobytes() for d in plain.digests[part]} == {
            d.tobytes() for d in shuffled.digests[part]
        }


def test_a_split_loses_no_image_and_keeps_duplicates_once():
    pixels = noise(200)
    images = LensImages.from_arrays(np.concatenate([pixels, pixels[:20]]))
    steps = []
    parts = split(images, progress=lambda: steps.append(1))
    assert len(steps) == 220
    assert parts.duplicates == 20
    ids = [name for part in PARTS for name in getattr(parts, part).ids]
    assert sorted(ids, key=int) == [str(k) for k in range(200)]
    check_disjoint(*parts.digests.values())
    for part in PARTS:
        own, failed = digests_of(getattr(parts, part))
        np.testing.assert_array_equal(own, parts.digests[part])
        assert not failed


def test_unusable_images_are_named_with_reasons():
    pixels = noise(20)
    pixels[4] = 1
    images = LensImages.from_arrays(pixels) + LensImages.from_arrays(noise(1, (5, 5)))
    parts = split(images)
    assert parts.failed == {
        4: "constant image: every pixel is 1",
        20: "image is 5x5 pixels, most are 6x7",
    }
    assert sum(len(getattr(parts, part)) for part in PARTS) == 19
    digests, failed = digests_of(images)
    assert list(failed) == [4]
    assert digests.shape == (21, 16)
    assert not digests[4].any()
    assert digests[5].any()


def test_an_empty_collection_splits_into_nothing():
    parts = split(LensImages.from_arrays(noise(3))[[]])
    assert all(len(getattr(parts, part)) == 0 for part in PARTS)
    assert parts.digests["train"].shape == (0, 16)


def test_one_content_in_two_parts_is_refused_by_name():
    first, second = digests_of(LensImages.from_arrays(noise(8)))[0], noise(8, seed=1)
    second = digests_of(LensImages.from_arrays(second))[0]
    check_disjoint(first, second, second[:0])
    with pytest.raises(DataError, match=f"{second[2].tobytes().hex()} is in part 2 and in part 3"):
        check_disjoint(first, second, second[2:3])


def test_membership():
    digests = digests_of(LensImages.from_arrays(noise(8)))[0]
    np.testing.assert_array_equal(contained(digests, digests[[1, 6]]), np.isin(range(8), [1, 6]))
    assert contained(digests[:0], digests).shape == (0,)
    assert not contained(digests, digests[:0]).any()


@pytest.mark.slow
def test_no_image_of_the_challenge_occurs_twice(real_data):
    images = LensImages.open(real_data / "slc")
    parts = split(images)
    assert parts.duplicates == 0
    assert parts.failed == {}
    check_disjoint(*parts.digests.values())
    normals = [np.count_nonzero(getattr(parts, part).labels == 0) for part in PARTS]
    assert normals == [3117, 458, 439, 486]
