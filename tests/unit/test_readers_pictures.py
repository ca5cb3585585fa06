"""PNG, JPEG and TIFF: colour, depth, damage, and what JPEG files say of themselves."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from lumpylens.data import LensImages
from lumpylens.errors import DataWarning


@pytest.fixture
def grey():
    y, x = np.mgrid[:32, :40]
    return (128 + 100 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8)


@pytest.fixture
def colour(grey):
    return np.dstack([grey, grey // 2, 255 - grey])


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def only(path):
    (item,) = LensImages.open(path)
    return item


def test_jpeg_numbers_are_those_of_its_decoder(grey, tmp_path):
    path = save(tmp_path / "a.jpg", grey, quality=75)
    item = only(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(item.image, np.asarray(opened, np.float32))
    assert item.file_bytes == path.stat().st_size
    assert item.stretched


@pytest.mark.parametrize("quality", [60, 75, 95])
def test_quantisation_table_is_in_natural_order(grey, tmp_path, quality):
    # ITU-T T.81, table K.1, scaled as the JPEG library of the IJG does.
    first_rows = np.array([[16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55]])
    expected = np.maximum((first_rows * (200 - 2 * quality) + 50) // 100, 1)
    table = only(save(tmp_path / "a.jpg", grey, quality=quality)).jpeg_table
    assert table.shape == (8, 8)
    np.testing.assert_array_equal(table[:2], expected)


def test_a_horizontal_stripe_pattern_lives_in_the_first_column_of_the_table(tmp_path):
    # Rows of the table are vertical frequencies: a coarse (7, 0) entry removes row-to-row
    # alternation and leaves column-to-column alternation alone.
    table = np.ones((8, 8), int)
    table[1:, 0] = 255
    stripes = np.tile(np.array([[126], [130]], np.uint8), (4, 8))
    by_rows = save(tmp_path / "rows.jpg", stripes, qtables=[list(table.ravel())])
    np.testing.assert_array_equal(only(by_rows).jpeg_table, table)
    assert only(by_rows).error.startswith("constant image")
    columns = save(tmp_path / "columns.jpg", stripes.T.copy(), qtables=[list(table.ravel())])
    assert only(columns).image.std() > 1


def test_only_jpeg_has_a_table(grey, tmp_path):
    item = only(save(tmp_path / "a.png", grey))
    assert item.jpeg_table is None
    assert item.stretched


def test_colour_jpeg_has_the_luminance_table(colour, tmp_path):
    path = save(tmp_path / "a.jpg", colour, quality=75)
    with pytest.warns(DataWarning):
        item = only(path)
    assert list(item.jpeg_table[0, :3]) == [8, 6, 5]


def test_colour_becomes_luma_with_one_warning(colour, tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.png", colour)
    images = LensImages.open(tmp_path)
    with pytest.warns(DataWarning, match="colour pictures .*0.png.*luma") as caught:
        items = list(images)
    assert len(caught) == 1
    luma = colour @ np.array([0.299, 0.587, 0.114])
    for item in items:
        np.testing.assert_allclose(item.image, luma, atol=0.51)


def test_grey_saved_as_colour_is_the_same_and_no_reason_to_warn(grey, tmp_path):
    rgb = np.dstack([grey] * 3)
    save(tmp_path / "a.png", rgb)
    save(tmp_path / "b.png", np.dstack([rgb, np.full_like(grey, 255)]))
    Image.fromarray(grey).convert("LA").save(tmp_path / "c.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "d.png")
    for item in LensImages.open(tmp_path):
        np.testing.assert_array_equal(item.image, grey.astype(np.float32))


def test_see_through_pixels_are_laid_on_black(grey, tmp_path):
    alpha = np.full_like(grey, 255)
    alpha[:16] = 0
    path = save(tmp_path / "a.png", np.dstack([grey, grey, grey, alpha]))
    expected = np.where(alpha == 255, grey, 0)
    np.testing.assert_array_equal(only(path).image, expected.astype(np.float32))


def test_palette_with_transparency(grey, tmp_path):
    picture = Image.fromarray(grey).convert("P")
    picture.save(tmp_path / "a.png", transparency=bytes([255] * 256))
    np.testing.assert_array_equal(only(tmp_path / "a.png").image, grey.astype(np.float32))


@pytest.mark.parametrize(
    ("dtype", "name", "top"),
    [(np.uint16, "a.png", 65535), (np.uint16, "a.tif", 65535), (np.int32, "a.tif", 1_000_000)],
)
def test_deeper_pictures_keep_their_values(dtype, name, top, tmp_path):
    values = np.linspace(0, top, 120).reshape(10, 12).astype(dtype)
    item = only(save(tmp_path / name, values))
    np.testing.assert_array_equal(item.image, values.astype(np.float32))
    assert not item.stretched


def test_floats_keep_their_values(tmp_path):
    values = np.random.default_rng(0).normal(0, 1e-3, (10, 12)).astype(np.float32)
    item = only(save(tmp_path / "a.tiff", values))
    np.testing.assert_array_equal(item.image, values)
    assert not item.stretched


def test_one_bit_pictures(tmp_path, grey):
    Image.fromarray(grey > 128).save(tmp_path / "a.png")
    np.testing.assert_array_equal(only(tmp_path / "a.png").image, 255.0 * (grey > 128))


def test_four_colour_jpeg_is_read(colour, tmp_path):
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.warns(DataWarning):
        item = only(tmp_path / "a.jpg")
    assert not item.error
    assert item.jpeg_table is None


def test_several_pictures_in_one_file_are_refused(grey, tmp_path):
    first = Image.fromarray(grey)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[first, first])
    assert "TIFF file of 3 pictures" in only(tmp_path / "a.tif").error


def png(width, height, depth, colour_type, rows):
    """PNG file with any header."""

    def chunk(kind, body):
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def test_values_are_never_cut_to_8_bits_in_silence(tmp_path):
    # Pillow reads 16 bits per colour channel as 8.
    values = np.random.default_rng(0).integers(0, 65536, (8, 8, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    (tmp_path / "a.png").write_bytes(png(8, 8, 16, 2, rows))
    assert "16 bits per channel" in only(tmp_path / "a.png").error


def test_a_cut_off_jpeg_is_never_read_as_if_it_were_whole(grey, tmp_path):
    whole = io.BytesIO()
    Image.fromarray(grey).save(whole, "JPEG", quality=75)
    content, path = whole.getvalue(), tmp_path / "a.jpg"
    path.write_bytes(content)
    expected = only(path).image
    reasons = set()
    for length in [*range(1, len(content) - 30, 7), *range(len(content) - 30, len(content))]:
        path.write_bytes(content[:length])
        item = only(path)
        # Without the last two bytes, the end marker, nothing of the picture is missing.
        if item.error:
            reasons.add(item.error)
        else:
            assert length >= len(content) - 2
            np.testing.assert_array_equal(item.image, expected)
    assert "the picture is cut off: its file ends too early" in reasons


def test_a_large_picture_is_read_and_a_bomb_is_not(tmp_path):
    large = np.zeros((2160, 3840), np.uint8)
    large[5, 5] = 1  # compresses well: the file is small, the picture is not
    assert not only(save(tmp_path / "4k.png", large)).error
    (tmp_path / "bomb.png").write_bytes(png(9000, 9000, 8, 0, b""))
    assert "too many for a cutout" in only(tmp_path / "bomb.png").error
    (tmp_path / "larger.png").write_bytes(png(10**6, 10**6, 8, 0, b""))
    assert "too many pixels" in only(tmp_path / "larger.png").error


def test_other_formats_under_our_names_are_not_read(grey, tmp_path):
    Image.fromarray(grey).save(tmp_path / "a.jpg", format="GIF")
    assert only(tmp_path / "a.jpg").error == "not a PNG, JPEG or TIFF picture"
    Image.fromarray(grey).save(tmp_path / "b.jpg", format="PNG")
    assert not only(tmp_path / "b.jpg").error


def test_pillow_that_forgives_cut_off_files_is_not_believed(grey, tmp_path, monkeypatch):
    from PIL import ImageFile

    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    path = save(tmp_path / "a.jpg", grey)
    path.write_bytes(path.read_bytes()[:-20])
    assert "cut off" in only(path).error
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_challenge_is_read_with_its_labels_and_tables(real_data):
    images = LensImages.open(real_data / "slc")
    assert len(images) == 9000
    assert [np.count_nonzero(images.labels == k) for k in (0, 1)] == [4500, 4500]
    assert images.ids[0].startswith("no_sub/image_")
    assert images.location.endswith("lenses")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = images[::450].stack(shape=(150, 150))
    assert batch.pixels.min(axis=(1, 2)).max() <= 5
    assert batch.pixels.max(axis=(1, 2)).min() >= 250
    assert "not linear" in images.notes()[0]
    assert list(images[0].jpeg_table[0]) == [8, 6, 5, 8, 12, 20, 26, 31]


def tiff(folder, array, **options):
    tifffile = pytest.importorskip("tifffile")
    options = {"photometric": "minisblack"} | options
    tifffile.imwrite(folder / "a.tif", array, metadata=None, **options)
    return folder / "a.tif"


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_tiff_numbers_of_any_type_and_byte_order_are_those_that_were_written(
    kind, order, compression, tmp_path
):
    # Pillow 13 reads nine of these kinds wrongly, without a word.
    values = np.random.default_rng(3).integers(0, 100, (16, 20)).astype(kind)
    values[0, 0] = np.array(-7).astype(kind)
    item = only(tiff(tmp_path, values, byteorder=order, compression=compression))
    assert item.error == ""
    np.testing.assert_array_equal(item.image, values.astype(np.float32))
    assert item.stretched == (kind in ("u1", "i1"))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("layout", ["separate", "contig"])
@pytest.mark.parametrize(
    ("kind", "bands", "photometric"),
    [("u1", 2, "minisblack"), ("u2", 3, "rgb"), ("i2", 3, "minisblack"), ("f4", 3, "minisblack"),
     ("f8", 5, "minisblack")],
)  # fmt: skip
def test_tiff_of_several_bands_is_never_read_as_one(
    kind, bands, photometric, layout, compression, order, tmp_path
):
    shape = (bands, 16, 20) if layout == "separate" else (16, 20, bands)
    values = np.random.default_rng(3).integers(0, 100, shape).astype(kind)
    path = tiff(
        tmp_path, values, photometric=photometric, planarconfig=layout,
        compression=compression, byteorder=order,
    )  # fmt: skip
    item = only(path)
    assert item.image is None
    assert item.error


def test_tiff_that_pillow_misreads_names_what_to_install(tmp_path, monkeypatch):
    path = tiff(tmp_path, np.eye(8), byteorder=">", compression="zlib")
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert only(path).error.endswith("pip install 'lumpylens[tiff]' (in a clone '.[tiff]')")


def test_damage_that_only_tifffile_meets_is_one_line(tmp_path, caplog, capfd):
    path = tiff(tmp_path, np.eye(64), byteorder=">", compression="zlib")
    content = path.read_bytes()
    for length in range(4, len(content), 23):
        path.write_bytes(content[:length])
        item = only(path)
        assert item.image is None
        assert item.error
        assert "\n" not in item.error
    assert capfd.readouterr().err == ""


def test_several_pictures_of_doubles_in_one_file_are_refused(tmp_path):
    path = tiff(tmp_path, np.random.default_rng(0).random((3, 8, 8)))
    assert only(path).error == "TIFF file of 3 pictures; give one per file"
