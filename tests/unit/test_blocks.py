"""Images that are read many at once are the ones that are read one by one."""

from __future__ import annotations

import asdf
import h5py
import numpy as np
import pytest
import zarr

from lumpylens.data import LensImages, reading
from lumpylens.data.readers import stacks
from lumpylens.data.readers.stacks import StackSource
from lumpylens.data.source import ArraySource, CutoutSource

COUNT, SIDE = 23, 12


def write_npy(folder, images):
    np.save(folder / "a.npy", images)
    return folder / "a.npy"


def write_npz(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def write_hdf5(folder, **arrays):
    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in arrays.items():
            chunks = (min(5, len(array)), *array.shape[1:])
            file.create_dataset(name, data=array, chunks=chunks, compression="gzip")
        file.attrs["pixel_scale_arcsec"] = 0.05
    return folder / "a.h5"


def write_zarr(folder, **arrays):
    store = zarr.open_group(str(folder / "a.zarr"), mode="w")
    for name, array in arrays.items():
        store.create_array(name, data=array, chunks=(5, *array.shape[1:]))
    return folder / "a.zarr"


def write_asdf(folder, **arrays):
    asdf.AsdfFile(arrays).write_to(folder / "a.asdf")
    return folder / "a.asdf"


def in_memory(folder, images, **arrays):
    return LensImages.from_arrays(images, jpeg_table=np.arange(1, 65).reshape(8, 8), **arrays)


WITH_COMPANIONS = [write_npz, write_hdf5, write_zarr, write_asdf, in_memory]


@pytest.fixture
def pixels():
    return np.random.default_rng(0).normal(3, 1, (COUNT, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def loaded(monkeypatch):
    """Positions of images that were read one by one."""
    positions = []
    for source in (StackSource, ArraySource):
        load = source.load
        monkeypatch.setattr(
            source, "load", lambda self, at, load=load: positions.append(at) or load(self, at)
        )
    return positions


def broken(pixels):
    """Images with every defect, and with what is just no defect."""
    pixels[1, 3, 4] = np.nan
    pixels[2, 0, 0] = np.inf
    pixels[4, 5, 5] = -np.inf
    pixels[6] = 7
    pixels[8, 1, 1] = 2e15
    pixels[9, 1, 1] = -2e15
    pixels[10, 1, 1] = 0.99e15
    pixels[11] = np.nan
    return pixels


def noise_maps(random):
    noise = random.uniform(0.5, 1, (COUNT, SIDE, SIDE)).astype(np.float32)
    noise[3, 2, 2] = 0
    noise[5, 2, 2] = -1
    noise[7, 2, 2] = np.nan
    noise[14, 2, 2] = np.inf
    return noise


def psfs(random):
    kernels = random.random((COUNT, 5, 7)).astype(np.float32)
    kernels[0] = 0
    kernels[5, 1, 1] = np.nan
    kernels[12, 1, 1] = -1e3
    kernels[13, 1, 1] = np.inf
    return kernels


def assert_same(images, size=7, **given):
    """Batches of a collection, against those of its images read one by one."""
    failed, failed_alone = {}, {}
    alone = LensImages.from_source(CutoutSource(list(images)))
    pairs = zip(
        images.batches(size, failed=failed, **given),
        alone.batches(size, failed=failed_alone, **given),
        strict=True,
    )
    for batch, expected in pairs:
        np.testing.assert_array_equal(np.sort(batch.positions), np.sort(expected.positions))
        order = np.argsort(batch.positions)
        back = np.argsort(expected.positions)
        for name in ("pixels", "noise", "psf"):
            array, other = getattr(batch, name), getattr(expected, name)
            assert (array is None) == (other is None)
            if array is not None:
                assert array.dtype == np.float32
                assert array.flags.writeable
                np.testing.assert_array_equal(array[order], other[back])
        assert batch.pixel_scale_arcsec == expected.pixel_scale_arcsec
        assert batch.framed == expected.framed
        for table, other in zip(batch.jpeg_tables, expected.jpeg_tables, strict=True):
            np.testing.assert_array_equal(table, other)
    assert failed == failed_alone
    return failed


@pytest.mark.parametrize("write", [write_npy, *WITH_COMPANIONS])
def test_images_with_and_without_defects(write, tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_IMAGES", 5)
    images = LensImages.open(write(tmp_path, images=broken(pixels)))
    assert set(assert_same(images)) == {1, 2, 4, 6, 8, 9, 11}
    assert_same(images, size=COUNT)
    assert_same(images, size=1)


@pytest.mark.parametrize("write", WITH_COMPANIONS)
@pytest.mark.parametrize("shared", [False, True], ids=["own", "shared"])
def test_noise_maps_and_psfs(write, shared, tmp_path, pixels):
    random = np.random.default_rng(1)
    noise, psf = noise_maps(random), psfs(random)
    if shared:
        noise, psf = noise[:1], psf[1:2]
    images = LensImages.open(write(tmp_path, images=broken(pixels), noise=noise, psf=psf))
    failed = assert_same(images)
    assert set(failed) == {1, 2, 4, 6, 8, 9, 11} | (set() if shared else {0, 3, 5, 7, 12, 13, 14})
    assert len(images.batches(COUNT).__next__().psf) == COUNT - len(failed)


@pytest.mark.parametrize(
    "companion",
    [
        {"noise": np.zeros((1, SIDE, SIDE))},
        {"noise": np.ones((COUNT, SIDE, SIDE - 1))},
        {"noise": np.ones((COUNT - 1, SIDE, SIDE))},
        {"psf": np.zeros((1, 3, 3))},
        {"psf": np.ones((COUNT, 3, 4))},
        {"psf": np.ones((COUNT + 1, 3, 3))},
    ],
)
def test_a_companion_that_fits_no_image(companion, tmp_path, pixels):
    images = LensImages.open(write_npz(tmp_path, images=pixels, **companion))
    assert len(assert_same(images)) == COUNT


@pytest.mark.parametrize("dtype", ["u1", ">i2", ">f8", "<f2", "?"])
@pytest.mark.parametrize("write", [write_npy, write_hdf5, write_zarr])
def test_numbers_of_every_type(dtype, write, tmp_path, pixels):
    values = pixels > 3 if dtype == "?" else (20 * pixels).astype(dtype)
    assert not assert_same(LensImages.open(write(tmp_path, images=values)))


def test_an_array_with_the_first_axis_fastest(tmp_path, pixels):
    assert_same(LensImages.open(write_npy(tmp_path, np.asfortranarray(broken(pixels)))))


@pytest.mark.parametrize("axis", [-3, -1])
def test_a_band(axis, tmp_path, pixels):
    noise = noise_maps(np.random.default_rng(1))
    cube = np.stack([pixels, broken(pixels.copy())], axis)
    path = write_hdf5(tmp_path, images=cube, noise=np.stack([noise, noise + 1], axis))
    assert assert_same(LensImages.open(path, band="1"))


@pytest.mark.parametrize("write", [write_npy, write_hdf5, write_zarr, in_memory])
@pytest.mark.parametrize(
    "chosen", [slice(3, 20), slice(None, None, -1), [5, 5, 2], slice(None, None, 2), [0, 22], [7]]
)
def test_any_choice_of_images(write, chosen, tmp_path, pixels):
    assert_same(LensImages.open(write(tmp_path, images=broken(pixels)))[chosen])


def test_other_shapes_and_several_files(tmp_path, pixels):
    for k, stack in enumerate((pixels, broken(pixels.copy())[:, :9, :9], pixels[:3])):
        np.save(tmp_path / f"{k}.npy", stack)
    images = LensImages.open(tmp_path)
    assert set(range(COUNT, 2 * COUNT)) == set(assert_same(images, size=9))
    assert_same(images, shape=(9, 9), least=(9, 9))
    assert_same(images, shape=(10, 10), least=(10, 10))
    assert_same(images, shape=(30, 30), least=(20, 20))
    assert_same(images[::-1])
    assert_same(images + LensImages.from_arrays(pixels, pixel_scale_arcsec=0.1))
    assert_same(LensImages.from_arrays(pixels) + LensImages.from_arrays(pixels + 1))


def test_a_file_that_is_cut_off(tmp_path, pixels):
    path = write_npy(tmp_path, pixels)
    path.write_bytes(path.read_bytes()[:-4000])
    assert len(assert_same(LensImages.open(path))) == 7


@pytest.mark.parametrize("write", [write_npy, *WITH_COMPANIONS])
def test_only_images_with_a_defect_are_read_one_by_one(write, tmp_path, pixels, loaded):
    images = LensImages.open(write(tmp_path, images=broken(pixels)))
    sum(len(batch) for batch in images.batches(50))
    assert loaded == [1, 2, 4, 6, 8, 9, 11]


def test_far_images_are_read_one_by_one(tmp_path, pixels, loaded, monkeypatch):
    images = LensImages.open(write_npy(tmp_path, pixels))
    images[[0, 4, 7]].stack()
    assert loaded == []
    images[[0, 4, 12]].stack()
    assert loaded == [0, 4, 12]
    loaded.clear()
    monkeypatch.setattr(stacks, "LARGEST_BLOCK", 3 * SIDE**2)
    images[:3].stack()
    assert loaded == []
    images[:4].stack()
    assert loaded == [0, 1, 2, 3]


def test_a_stack_of_another_shape_is_tried_once(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK_IMAGES", 5)
    blocks = []
    load_block = StackSource.load_block
    monkeypatch.setattr(
        StackSource,
        "load_block",
        lambda self, positions: blocks.append(positions) or load_block(self, positions),
    )
    images = LensImages.open(write_npy(tmp_path, pixels))
    failed = {}
    assert list(images.batches(5, shape=(9, 9), failed=failed)) == []
    assert len(failed) == COUNT
    assert len(blocks) == 1


@pytest.mark.parametrize("write", [write_npy, *WITH_COMPANIONS])
def test_a_batch_is_a_copy(write, tmp_path, pixels):
    images = LensImages.open(write(tmp_path, images=pixels.copy()))
    for size in (1, COUNT):
        for batch in images.batches(size):
            batch.pixels[:] = 0
    np.testing.assert_array_equal(images.stack().pixels, pixels)


def test_a_batch_of_images_read_one_by_one_is_a_copy(pixels):
    images = LensImages.from_source(CutoutSource(list(LensImages.from_arrays(pixels.copy()))))
    for batch in images.batches(1):
        batch.pixels[:] = 0
    np.testing.assert_array_equal(images.stack().pixels, pixels)


def test_no_more_images_are_held_than_a_batch_has(pixels):
    bare = LensImages.from_arrays(pixels[:5])
    images = (bare + LensImages.from_arrays(pixels[:1], noise=pixels[:1] + 9))[[0, 1, 5, 2, 3, 4]]
    batches = [batch.positions.tolist() for batch in images.batches(3)]
    assert batches == [[0, 1], [3, 4], [2], [5]]


def test_every_image_is_counted(tmp_path, pixels):
    counts = []
    images = LensImages.open(write_npy(tmp_path, broken(pixels)))
    list(images.batches(4, on_image=lambda: counts.append(1)))
    assert len(counts) == COUNT
