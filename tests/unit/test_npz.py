"""A collection written to npz is the same collection when it is read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.data.npz import write_npz
from lumpylens.errors import DataError

TABLE = np.arange(1, 65).reshape(8, 8)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_everything_comes_back(random, tmp_path):
    images = LensImages.from_arrays(
        random.normal(size=(4, 6, 7)),
        ids=list("dcba"),
        labels=[0, 1, -1, 0],
        noise=random.random((4, 6, 7)) + 0.1,
        psf=np.full((3, 3), 1 / 9),
        pixel_scale_arcsec=0.06,
        jpeg_table=TABLE,
    )
    again = LensImages.open(write_npz(images, tmp_path / "some.npz"))
    assert again.ids == images.ids
    for before, after in zip(images, again, strict=True):
        for name in ("image", "noise", "psf", "jpeg_table"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        for name in ("label", "pixel_scale_arcsec", "stretched", "error"):
            assert getattr(before, name) == getattr(after, name)


def test_pictures_stay_pictures(random, tmp_path):
    pixels = random.integers(0, 256, (3, 6, 7))
    images = LensImages.from_arrays(pixels, stretched=True)
    again = LensImages.open(write_npz(images, tmp_path / "some.npz"))
    assert all(item.stretched for item in again)
    np.testing.assert_array_equal(again.stack().pixels, pixels)
    assert again[0].jpeg_table is None


def test_what_cannot_be_written_is_refused(random, tmp_path):
    pixels = random.random((3, 6, 7))
    images = LensImages.from_arrays(pixels)
    for place in ("images.jpg", "folder"):
        with pytest.raises(DataError, match="ends in .npz"):
            write_npz(images, tmp_path / place)
    (tmp_path / "taken.npz").mkdir()
    with pytest.raises(DataError, match="ends in .npz"):
        write_npz(images, tmp_path / "taken.npz")
    pixels[1, 2, 3] = np.nan
    with pytest.raises(DataError, match="1 of 3 images"):
        write_npz(LensImages.from_arrays(pixels), tmp_path / "bad.npz")
    assert not (tmp_path / "bad.npz").exists()


@pytest.mark.parametrize("table", [np.ones((8, 7), int), np.zeros((8, 8), int), np.ones((8, 8))])
def test_a_table_that_is_none_is_named(random, tmp_path, table):
    np.savez(tmp_path / "some.npz", images=random.random((3, 6, 7)), jpeg_table=table)
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["images"], file["jpeg_table"] = random.random((3, 6, 7)), table
    for name in ("some.npz", "some.h5"):
        with pytest.raises(DataError, match="jpeg_table"):
            LensImages.open(tmp_path / name)
