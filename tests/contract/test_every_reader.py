"""What every reader keeps: same pixels, same numbers; stable ids; each defect is a row."""

from __future__ import annotations

import io
import os
import pickle
import re
import threading
from pathlib import Path

import asdf
import h5py
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pyarrow import parquet

from lumpylens.data import LensImages
from lumpylens.data.readers import READERS
from lumpylens.data.splits import digests_of
from lumpylens.errors import DataError


def each(suffix, write):
    """Write every image to a file of its own."""

    def write_all(folder, pixels):
        for k, image in enumerate(pixels):
            write(folder / f"lens_{k}{suffix}", image)
        return folder

    return write_all


def whole(name, write):
    """Write all images to one file."""

    def write_stack(folder, pixels):
        write(folder / name, pixels)
        return folder / name

    return write_stack


def picture(dtype, **options):
    return lambda path, image: Image.fromarray(image.astype(dtype)).save(path, **options)


def in_colour(path, image):
    Image.fromarray(np.dstack([image] * 3)).save(path)


def hdf5(**options):
    def write(path, pixels):
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=pixels, **options)

    return write


def systems(path, pixels):
    """Write a file of the Roman Data Challenge with one band."""
    with h5py.File(path, "w") as file:
        for k, image in enumerate(pixels):
            file[f"images/strong_lens_{k:08d}/exposure_{k:08d}_F129"] = image


def primary(dtype):
    return lambda path, image: fits.PrimaryHDU(image.astype(dtype)).writeto(path)


def scaled(path, image):
    hdu = fits.PrimaryHDU(image.astype(np.int32))
    hdu.scale("int16", bscale=0.5, bzero=20)
    hdu.writeto(path)


def extension(path, image):
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image.astype("f4"), name="SCI")]).writeto(path)


def compressed(path, image):
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(image.astype("i2"))]).writeto(path)


def table(cell, kind=None, **options):
    """Write a Parquet table with a column of images."""

    def write(path, pixels):
        column = pa.array([cell(image) for image in pixels], kind)
        parquet.write_table(pa.table({"image": column, "z": [0.5] * len(pixels)}), path, **options)

    return write


def as_png(image):
    content = io.BytesIO()
    Image.fromarray(np.asarray(image, np.uint8)).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def tree(path, pixels):
    asdf.AsdfFile({"images": pixels}).write_to(path)


WRITERS = {
    "pictures": {
        "png": each(".png", picture(np.uint8)),
        "png of 16 bits": each(".PNG", picture(np.uint16)),
        "png in colour": each(".png", in_colour),
        "tiff": each(".tif", picture(np.uint8)),
        "tiff of floats": each(".tiff", picture(np.float32)),
        "tiff of integers": each(".tif", picture(np.int32)),
        "packed tiff": each(".tif", picture(np.uint8, compression="tiff_lzw")),
    },
    "numpy": {
        "npy": whole("a.npy", np.save),
        "npy of doubles": whole("a.npy", lambda path, x: np.save(path, x.astype(float))),
        "npy, big-endian": whole("a.npy", lambda path, x: np.save(path, x.astype(">i4"))),
        "npy, Fortran order": whole("a.npy", lambda path, x: np.save(path, np.asfortranarray(x))),
        "npy with leading axes": whole("a.npy", lambda path, x: np.save(path, x[:, None, None])),
        "one npy each": each(".npy", np.save),
        "npz": whole("a.npz", lambda path, x: np.savez(path, images=x)),
        "packed npz": whole("a.npz", lambda path, x: np.savez_compressed(path, any_name=x)),
    },
    "hdf5": {
        "hdf5": whole("a.h5", hdf5()),
        "packed hdf5": whole("a.hdf5", hdf5(compression="gzip", chunks=True)),
        "one hdf5 each": each(".h5", hdf5()),
        "hdf5 of the Roman challenge": whole("a.h5", systems),
    },
    "fits": {
        "fits of bytes": each(".fits", primary("u1")),
        "fits of integers": each(".fit", primary(">i4")),
        "fits of unsigned integers": each(".fits", primary("u2")),
        "fits of floats": each(".fits", primary(">f4")),
        "fits of doubles": each(".fts", primary("<f8")),
        "scaled fits": each(".fits", scaled),
        "gzipped fits": each(".fits.gz", primary("i2")),
        "compressed fits": each(".fits.fz", compressed),
        "fits with extension": each(".fits", extension),
    },
    "parquet": {
        "parquet of pictures": whole("a.parquet", table(as_png)),
        "parquet of bytes": whole("a.parquet", table(lambda image: as_png(image)["bytes"])),
        "parquet of lists": whole(
            "a.parquet", table(np.ndarray.tolist, pa.list_(pa.list_(pa.uint8())), row_group_size=2)
        ),
        "parquet of doubles": whole("a.parquet", table(lambda image: (1.0 * image).tolist())),
        "one parquet each": each(
            ".parquet", lambda path, x: table(np.ndarray.tolist)(path, x[None])
        ),
    },
    "asdf": {
        "asdf": whole("a.asdf", tree),
        "asdf of doubles": whole("a.asdf", lambda path, pixels: tree(path, pixels.astype(">f8"))),
        "one asdf each": each(".asdf", tree),
    },
}
READER_NAMES = list(WRITERS)
CASES = [(reader, kind) for reader, kinds in WRITERS.items() for kind in kinds]


@pytest.fixture
def pixels():
    return np.random.default_rng(5).integers(0, 256, (3, 16, 21), dtype=np.uint8)


def test_every_reader_is_tested():
    # Zarr has a test of its own: its stores are folders, which no damage of a file fits.
    assert [*WRITERS, "zarr"] == [reader.name for reader in READERS]


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_same_pixels_same_numbers(reader, kind, pixels, tmp_path):
    images = LensImages.open(WRITERS[reader][kind](tmp_path, pixels))
    assert [item.error for item in images] == [""] * 3
    stack = images.stack().pixels
    assert stack.dtype == np.float32
    np.testing.assert_array_equal(stack, pixels.astype(np.float32))
    expected, _ = digests_of(LensImages.from_arrays(pixels))
    np.testing.assert_array_equal(digests_of(images)[0], expected)
    for item in images:
        assert item.image.flags.writeable


@given(
    pixels=arrays(np.uint8, st.tuples(st.just(2), st.integers(2, 9), st.integers(5, 9))),
    case=st.sampled_from(CASES),
)
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_any_pixels_in_any_format_have_the_same_digest(pixels, case, tmp_path_factory):
    reader, kind = case
    images = LensImages.open(WRITERS[reader][kind](tmp_path_factory.mktemp("any"), pixels))
    plain = LensImages.from_arrays(pixels)
    np.testing.assert_array_equal(digests_of(images)[0], digests_of(plain)[0])
    assert [bool(item.error) for item in images] == [bool(item.error) for item in plain]


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_ids_are_unique_and_stable(reader, kind, pixels, tmp_path):
    path = WRITERS[reader][kind](tmp_path, pixels)
    images = LensImages.open(path)
    assert len(set(images.ids)) == 3
    assert images.ids == sorted(images.ids) == LensImages.open(path).ids
    assert images.ids == [item.id for item in images]
    moved = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}_moved"))
    again = LensImages.open(moved if path == tmp_path else moved / path.name)
    assert again.ids == images.ids
    moved.rename(tmp_path)
    chosen = images[[2, 0]]
    np.testing.assert_array_equal(chosen.stack().pixels, pixels[[2, 0]].astype(np.float32))


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_a_band_is_refused_where_there_are_none(reader, kind, pixels, tmp_path):
    path = WRITERS[reader][kind](tmp_path, pixels)
    with pytest.raises(DataError, match=r"no bands to choose 'VIS' from: it holds \w+") as caught:
        LensImages.open(path, band="VIS")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_class_folders_give_labels(reader, kind, pixels, tmp_path):
    for name in ("no_sub", "sub", "other"):
        (tmp_path / name).mkdir()
        WRITERS[reader][kind](tmp_path / name, pixels)
    images = LensImages.open(tmp_path)
    assert list(images.labels) == [0] * 3 + [-1] * 3 + [1] * 3
    assert [item.label for item in images] == list(images.labels)
    assert [name.split("/")[0] for name in images.ids] == ["no_sub"] * 3 + ["other"] * 3 + [
        "sub"
    ] * 3
    assert set(LensImages.open(tmp_path / "sub").labels) == {1}
    assert set(LensImages.open(tmp_path / "no_sub").labels) == {0}


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_collections_travel_and_are_read_by_many_threads(reader, kind, pixels, tmp_path):
    images = LensImages.open(WRITERS[reader][kind](tmp_path, pixels))
    assert not images[0].error
    copy = pickle.loads(pickle.dumps(images))
    read = []
    threads = [
        threading.Thread(target=lambda k=k: read.append((k, copy[k].image))) for k in (0, 1, 2) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 9
    for k, image in read:
        np.testing.assert_array_equal(image, pixels[k].astype(np.float32))


ONE_FILE = {
    "pictures": "png",
    "numpy": "one npy each",
    "hdf5": "one hdf5 each",
    "fits": "fits of floats",
    "parquet": "one parquet each",
    "asdf": "one asdf each",
}


def one_file(reader, folder, name, image):
    """Write one image to a file called `name` and the reader's suffix."""
    WRITERS[reader][ONE_FILE[reader]](folder, image[None])
    (written,) = folder.glob("lens_0*")
    return written.rename(folder / f"{name}{''.join(written.suffixes)}")


@pytest.mark.parametrize("reader", READER_NAMES)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_bytes(b"not an image at all"), ""),
        (
            lambda path: path.write_text(
                f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 11520\n"
            ),
            "a Git LFS pointer and not the file itself: run git lfs pull",
        ),
        (lambda path: path.write_text("\n<!DOCTYPE html><html></html>"), "a web page and not the"),
        (lambda path: path.write_text("<?xml version='1.0'?><Error/>"), "a web page and not the"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), ""),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), ""),
        (lambda path: (path.unlink(), path.symlink_to("nowhere")), "No such file|missing"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file"),
    ],
    ids=[
        "zero bytes",
        "text",
        "pointer",
        "page",
        "xml",
        "cut off",
        "noise",
        "dangling link",
        "pipe",
    ],
)
def test_a_damaged_file_is_a_row_with_a_reason(reader, damage, said, pixels, tmp_path):
    bad = one_file(reader, tmp_path, "bad", pixels[0])
    good = one_file(reader, tmp_path, "good", pixels[0])
    damage(bad)
    images = LensImages.open(tmp_path)
    assert images.ids == [bad.name, good.name]
    broken, fine = images
    assert broken.error
    assert "\n" not in broken.error
    assert str(tmp_path) not in broken.error
    assert re.search(said, broken.error)
    assert broken.image is None
    np.testing.assert_array_equal(fine.image, pixels[0].astype(np.float32))


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_a_constant_image_is_a_row_with_a_reason(reader, kind, pixels, tmp_path):
    pixels[1] = 7
    images = LensImages.open(WRITERS[reader][kind](tmp_path, pixels))
    assert [item.error for item in images] == ["", "constant image: every pixel is 7", ""]


@pytest.mark.parametrize(
    ("reader", "kind"),
    [("numpy", "npy"), ("numpy", "npz"), ("hdf5", "hdf5"), ("fits", "fits of floats"),
     ("pictures", "tiff of floats"), ("parquet", "parquet of doubles"),
     ("asdf", "asdf of doubles")],
)  # fmt: skip
def test_nan_is_a_row_with_a_reason(reader, kind, pixels, tmp_path):
    values = pixels.astype(np.float32)
    values[2, 3, 4] = np.nan
    values[2, 0, 0] = np.inf
    images = LensImages.open(WRITERS[reader][kind](tmp_path, values))
    assert [item.error for item in images[:2]] == ["", ""]
    assert images[2].error == "2 of 336 pixels are NaN or infinite"


@pytest.mark.parametrize("reader", READER_NAMES)
def test_a_file_that_may_not_be_read_is_a_row(reader, pixels, tmp_path, monkeypatch):
    path = one_file(reader, tmp_path, "a", pixels[0])
    opened = Path.open

    def refuse(self, *args, **kwargs):
        if Path(self) == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    def refuse_hdf5(name, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(name))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(h5py, "File", refuse_hdf5)
    (item,) = LensImages.open(tmp_path)
    assert "Permission denied" in item.error


@pytest.mark.parametrize("reader", READER_NAMES)
def test_files_that_vanish_are_rows_and_never_wrong_images(reader, pixels, tmp_path):
    paths = [one_file(reader, tmp_path, f"a{k}", pixels[k]) for k in range(3)]
    images = LensImages.open(tmp_path)
    for path in paths:
        path.unlink()
    for k, item in enumerate(images):
        if not item.error:
            np.testing.assert_array_equal(item.image, pixels[k].astype(np.float32))
    assert images[0].error


@pytest.mark.parametrize("reader", ["pictures", "fits"])
def test_a_damaged_file_named_alone_is_a_row(reader, pixels, tmp_path):
    path = one_file(reader, tmp_path, "a", pixels[0])
    path.write_bytes(b"not an image at all")
    (item,) = LensImages.open(path)
    assert item.error


@pytest.mark.parametrize("reader", ["numpy", "hdf5", "parquet", "asdf"])
def test_a_damaged_stack_named_alone_is_one_line(reader, pixels, tmp_path):
    path = one_file(reader, tmp_path, "a", pixels[0])
    path.write_bytes(b"not an image at all")
    with pytest.raises(DataError, match="^/.*: not a") as caught:
        LensImages.open(path)
    assert "\n" not in str(caught.value)
