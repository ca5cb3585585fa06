"""Zarr stores, alone, in a folder, and incomplete."""

from __future__ import annotations

import pickle
import shutil
import sys

import numpy as np
import pytest

from lumpylens.data import LensImages
from lumpylens.errors import DataError

MARKED_BY = {2: ".zgroup", 3: "zarr.json"}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).random((6, 12, 15)).astype(np.float32)


@pytest.fixture
def write(tmp_path):
    zarr = pytest.importorskip("zarr")

    def write_store(name="a.zarr", version=3, **arrays):
        group = zarr.open_group(tmp_path / name, mode="w", zarr_format=version)
        for key, values in arrays.items():
            values = np.asarray(values)
            chunks = (2, *values.shape[1:]) if values.ndim == 3 else values.shape
            group.create_array(key, data=values, chunks=chunks)
        return tmp_path / name

    return write_store


@pytest.mark.parametrize("version", [2, 3])
def test_everything_known_is_read(version, write, pixels):
    path = write(version=version, images=pixels, noise=pixels + 1, psf=np.ones((3, 3)),
                 labels=[0, 1, -1, 0, 1, 7], ids=[3, 1, 4, 15, 9, 2])  # fmt: skip
    assert (path / MARKED_BY[version]).is_file()
    images = LensImages.open(path, pixel_scale_arcsec=0.1)
    assert images.ids == ["3", "1", "4", "15", "9", "2"]
    assert list(images.labels) == [0, 1, -1, 0, 1, -1]
    for k, item in enumerate(pickle.loads(pickle.dumps(images))):
        np.testing.assert_array_equal(item.image, pixels[k])
        np.testing.assert_array_equal(item.noise, pixels[k] + 1)
        assert item.psf.shape == (3, 3)
        assert item.pixel_scale_arcsec == 0.1
        assert item.remarks == ()
        assert item.origins == {
            "image": "images", "noise map": "noise", "PSF": "psf", "pixel scale": "as given",
        }  # fmt: skip


def test_one_array_without_a_group_and_its_scale(tmp_path, pixels):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(tmp_path / "a.zarr", data=pixels)
    array.attrs["pixel_scale_arcsec"] = 0.05
    images = LensImages.open(tmp_path / "a.zarr")
    np.testing.assert_array_equal(images.stack().pixels, pixels)
    assert images[0].pixel_scale_arcsec == 0.05


def test_stores_in_a_folder_are_files_of_any_name(write, pixels, tmp_path):
    write("no_sub/a.zarr", images=pixels, labels=[0] * 6)
    write("sub/store", images=pixels + 1, labels=[1] * 6)
    images = LensImages.open(tmp_path)
    assert list(images.labels) == [0] * 6 + [1] * 6
    assert images.ids[0] == "no_sub/a.zarr[0]"
    assert images.ids[6] == "sub/store[0]"
    assert images.remarks() == []
    shutil.rmtree(tmp_path / "sub")
    assert set(LensImages.open(tmp_path).labels) == {0}
    assert LensImages.open(tmp_path / "no_sub").ids[0] == "a.zarr[0]"


def test_chunks_that_are_not_there_are_said(write, pixels):
    path = write(images=pixels)
    shutil.rmtree(path / "images" / "c" / "1")
    images = LensImages.open(path)
    assert [bool(item.error) for item in images] == [False, False, True, True, False, False]
    assert images[0].remarks == ("1 of 3 chunks are not there, and are read as 0.0",)


def test_a_damaged_store_is_a_row_in_a_folder_and_one_line_alone(write, pixels, tmp_path):
    path = write(images=pixels)
    write("b.zarr", images=pixels)
    (path / "zarr.json").write_text("{")
    with pytest.raises(DataError, match="a.zarr: not a whole Zarr store: ") as caught:
        LensImages.open(path)
    assert "\n" not in str(caught.value)
    images = LensImages.open(tmp_path)
    assert [bool(item.error) for item in images] == [True] + [False] * 6


def test_bands_are_chosen_by_name_or_number(write, pixels):
    path = write(g=pixels, r=pixels + 1)
    np.testing.assert_array_equal(LensImages.open(path, band="r")[2].image, pixels[2] + 1)
    path = write("b.zarr", images=np.stack([pixels, pixels + 1], axis=1))
    np.testing.assert_array_equal(LensImages.open(path, band="1")[2].image, pixels[2] + 1)


def test_without_zarr_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "zarr.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DataError, match=r"pip install 'lumpylens\[zarr\]'"):
        LensImages.open(tmp_path / "a.zarr")
