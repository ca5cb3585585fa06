"""ASDF, and the mosaics of Roman in the layout of the schemas of rad 0.28 (wfi_mosaic 1.x)."""

from __future__ import annotations

import sys

import asdf
import numpy as np
import pytest

from lumpylens.data import LensImages
from lumpylens.errors import DataError

TAG = b"!<asdf://stsci.edu/datamodels/roman/tags/wfi_mosaic-1.1.0>"


@pytest.fixture
def pixels():
    return np.random.default_rng(0).random((20, 24)).astype(np.float32)


def write_roman(path, pixels, compression=None, scale_deg=0.11 / 3600):
    tree = {
        "roman": {
            "meta": {"wcsinfo": {"pixel_scale": scale_deg}, "telescope": "ROMAN"},
            "data": pixels,
            "err": pixels + 1,
            "weight": pixels + 2,
            "var_poisson": pixels + 3,
            "context": np.zeros((1, *pixels.shape), np.uint32),
        }
    }
    asdf.AsdfFile(tree).write_to(path, all_array_compression=compression)
    content = path.read_bytes()
    # As the package roman_datamodels writes it, whose tags are not known here.
    path.write_bytes(content.replace(b"\nroman:\n", b"\nroman: " + TAG + b"\n"))
    return path


@pytest.mark.parametrize("compression", [None, "zlib", "lz4"])
def test_a_mosaic_of_roman(compression, pixels, tmp_path):
    if compression == "lz4":
        pytest.importorskip("lz4")
    path = write_roman(tmp_path / "a.asdf", pixels, compression)
    images = LensImages.open(path)
    assert images.ids == ["a.asdf"]
    (item,) = images
    np.testing.assert_array_equal(item.image, pixels)
    np.testing.assert_array_equal(item.noise, pixels + 1)
    assert item.pixel_scale_arcsec == pytest.approx(0.11)
    assert item.origins == {
        "image": "roman/data", "noise map": "roman/err",
        "pixel scale": "meta.wcsinfo.pixel_scale",
    }  # fmt: skip
    assert item.remarks == (
        "not used: roman/context (other map), roman/var_poisson (other map), "
        "roman/weight (weight map)",
    )


def test_a_scale_in_arcsec_is_not_taken_for_degrees(pixels, tmp_path):
    path = write_roman(tmp_path / "a.asdf", pixels, scale_deg=0.055)
    assert LensImages.open(path)[0].pixel_scale_arcsec == 0.055


def test_without_lz4_the_extra_is_named(pixels, tmp_path, monkeypatch):
    pytest.importorskip("lz4")
    path = write_roman(tmp_path / "a.asdf", pixels, "lz4")
    for name in [name for name in sys.modules if name.split(".")[0] == "lz4"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lz4", None)
    assert "lumpylens[asdf]" in LensImages.open(path)[0].error


def test_without_asdf_the_extra_is_named(pixels, tmp_path, monkeypatch):
    path = write_roman(tmp_path / "a.asdf", pixels)
    monkeypatch.setitem(sys.modules, "asdf.util", None)
    with pytest.raises(DataError, match=r"pip install 'lumpylens\[asdf\]'"):
        LensImages.open(path)


def test_pixels_elsewhere_are_never_fetched(pixels, tmp_path):
    path = tmp_path / "a.asdf"
    asdf.AsdfFile({"images": pixels}).write_to(path)
    content = path.read_bytes().replace(b"source: 0", b"source: http://localhost:9/a.asdf")
    path.write_bytes(content)
    with pytest.raises(DataError, match="found nothing"):
        LensImages.open(path)


def test_bands_are_chosen_by_name(pixels, tmp_path):
    path = tmp_path / "a.asdf"
    asdf.AsdfFile({"lens": {"F106": pixels, "F129": pixels + 1}}).write_to(path)
    with pytest.raises(DataError, match="lens/F106 .20, 24., lens/F129 .*with --band"):
        LensImages.open(path)
    np.testing.assert_array_equal(LensImages.open(path, band="F129")[0].image, pixels + 1)


def test_a_file_that_is_cut_off_in_its_pixels_is_an_error(pixels, tmp_path):
    path = tmp_path / "a.asdf"
    asdf.AsdfFile({"images": pixels}).write_to(path)
    content = path.read_bytes()
    start = content.index(pixels.tobytes()[:16])
    for length in (start, start + 40, start + pixels.nbytes - 1):
        path.write_bytes(content[:length])
        assert LensImages.open(path)[0].error
