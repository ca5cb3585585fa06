"""Parquet tables with a column of images, in the layouts of Hugging Face's datasets 4."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from lumpylens.data import LensImages
from lumpylens.errors import DataError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).random((5, 12, 15)).astype(np.float32)


def write(path, features=None, **columns):
    table = pa.table(columns)
    if features is not None:
        written = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": written})
    parquet.write_table(table, path, row_group_size=2)
    return path


def lists(array):
    return pa.array(array.tolist(), pa.list_(pa.list_(pa.float32())))


def test_array2d_with_noise_psf_ids_and_labels(pixels, tmp_path):
    psf = np.ones((5, 3, 3), np.float32)
    path = write(
        tmp_path / "a.parquet", image=lists(pixels), noise=lists(pixels + 1), psf=lists(psf),
        id=["a", "b", "c", "d", "e"], label=[0, 1, -1, 0, 7],
    )  # fmt: skip
    images = LensImages.open(path, pixel_scale_arcsec=0.1)
    assert images.ids == ["a", "b", "c", "d", "e"]
    assert list(images.labels) == [0, 1, -1, 0, -1]
    for k, item in enumerate(images):
        np.testing.assert_array_equal(item.image, pixels[k])
        np.testing.assert_array_equal(item.noise, pixels[k] + 1)
        assert item.psf.shape == (3, 3)
        assert item.pixel_scale_arcsec == 0.1
        assert not item.stretched
    assert images[0].origins == {
        "image": "image", "noise map": "noise", "PSF": "psf", "pixel scale": "as given",
    }  # fmt: skip
    assert LensImages.open(tmp_path).ids[0] == "a.parquet[a]"


def test_an_image_with_an_id_of_its_own_that_fails_is_found_by_its_row(pixels, tmp_path):
    pixels[3] = 1
    path = write(tmp_path / "a.parquet", image=lists(pixels), id=["a", "b", "c", "d", "e"])
    reason = "constant image: every pixel is 1"
    assert LensImages.open(path)[3].error == f"{reason} (row 3 of a.parquet, counted from 0)"
    path = write(tmp_path / "a.parquet", image=lists(pixels))
    assert LensImages.open(path)[3].error == reason


def test_the_number_of_a_class_counts_by_its_name(pixels, tmp_path):
    classes = {"label": {"_type": "ClassLabel", "names": ["axion", "cdm", "no_sub", "sub"]}}
    path = write(tmp_path / "a.parquet", classes, image=lists(pixels), label=[0, 1, 2, 3, None])
    assert list(LensImages.open(path).labels) == [-1, -1, 0, 1, -1]
    path = write(tmp_path / "a.parquet", image=lists(pixels[:2]), label=["sub", "no_sub"])
    assert list(LensImages.open(path).labels) == [1, 0]


def test_pictures_keep_what_their_files_say(tmp_path):
    grey = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(grey).save(content, "JPEG", quality=75)
    cells = [{"bytes": content.getvalue(), "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}]
    images = LensImages.open(write(tmp_path / "a.parquet", image=cells))
    assert images[0].stretched
    assert images[0].jpeg_table[0, 0] == 8
    assert images[0].remarks == ("colours are read as grey (ITU-R BT.601 luma)",)
    assert images[1].error == "the table has no pixels in this row"


def test_tensors_of_arrow(pixels, tmp_path):
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)
    images = LensImages.open(write(tmp_path / "a.parquet", cutout=column))
    np.testing.assert_array_equal(images.stack().pixels, pixels)


def test_bands_are_chosen_by_column_or_number(pixels, tmp_path):
    path = write(tmp_path / "a.parquet", g=lists(pixels), r=lists(pixels + 1))
    with pytest.raises(DataError, match="several columns of images: g, r; choose .*--band"):
        LensImages.open(path)
    np.testing.assert_array_equal(LensImages.open(path, band="r").stack().pixels, pixels + 1)
    cube = pa.array([np.stack([image, image + 1]).tolist() for image in pixels])
    path = write(tmp_path / "b.parquet", image=cube)
    assert "has 2 bands: choose one by its number" in LensImages.open(path)[0].error
    np.testing.assert_allclose(LensImages.open(path, band="1").stack().pixels, pixels + 1)


def test_tables_without_images_are_refused_or_passed_over_with_a_word(pixels, tmp_path):
    path = write(tmp_path / "scores.parquet", score=[0.5])
    with pytest.raises(DataError, match="no column of images; it has score"):
        LensImages.open(path)
    np.save(tmp_path / "a.npy", pixels)
    images = LensImages.open(tmp_path)
    assert len(images) == 5
    assert "not used: scores.parquet has no column of images; it has score" in images.remarks()


def test_without_pyarrow_the_extra_is_named(pixels, tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", image=lists(pixels))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"pip install 'lumpylens\[parquet\]'"):
        LensImages.open(path)
