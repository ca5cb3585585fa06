"""npy, npz and HDF5: which array, which names, and what is missing."""

from __future__ import annotations

import pickle
import sys

import h5py
import numpy as np
import pytest

from lumpylens.data import LensImages
from lumpylens.errors import DataError


@pytest.fixture
def pixels():
    return np.random.default_rng(0).random((4, 12, 15)).astype(np.float32)


def write_npz(folder, **arrays):
    np.savez(folder / "a.npz", **arrays)
    return folder / "a.npz"


def write_hdf5(folder, **arrays):
    with h5py.File(folder / "a.h5", "w") as file:
        for name, array in arrays.items():
            as_text = array.dtype.kind == "U"
            file.create_dataset(name, data=array.astype(object) if as_text else array)
    return folder / "a.h5"


@pytest.fixture(params=[write_npz, write_hdf5])
def write(request, tmp_path):
    return lambda **arrays: request.param(
        tmp_path, **{name: np.asarray(array) for name, array in arrays.items()}
    )


def test_everything_known_is_read(write, pixels):
    psf = np.ones((4, 3, 3)) * np.arange(1, 5)[:, None, None]
    psf[:, 1, 1] += 4
    path = write(
        images=pixels, ids=["x", "y", "ü", "w"], labels=[0, 1, -1, 7], noise=pixels + 1, psf=psf
    )
    images = LensImages.open(path, pixel_scale_arcsec=0.07)
    assert images.ids == ["x", "y", "ü", "w"]
    assert list(images.labels) == [0, 1, -1, -1]
    for k, item in enumerate(images):
        np.testing.assert_array_equal(item.noise, pixels[k] + 1)
        np.testing.assert_allclose(item.psf, psf[k] / psf[k].sum(), rtol=1e-6)
        assert item.pixel_scale_arcsec == 0.07
        assert not item.stretched
        assert not item.error


def test_one_noise_map_and_psf_may_serve_all(write, pixels):
    images = LensImages.open(write(images=pixels, noise=pixels[0] + 1, psf=np.ones((1, 3, 3))))
    np.testing.assert_array_equal(images[3].noise, pixels[0] + 1)
    assert images[3].psf.shape == (3, 3)


def test_companions_need_not_share_the_leading_axes(write, pixels):
    images = LensImages.open(write(images=pixels.reshape(2, 2, 1, 12, 15), noise=pixels + 1))
    np.testing.assert_array_equal(images[2].noise, pixels[2] + 1)


def test_companions_of_another_length_are_a_reason_in_every_row(write, pixels):
    images = LensImages.open(write(images=pixels, noise=pixels[:2]))
    assert all("lies beside" in item.error for item in images)


def test_ids_of_numbers_and_labels_of_words(write, pixels):
    images = LensImages.open(
        write(images=pixels, ids=[10, 20, 30, 40], labels=["sub", "no_sub", "?", "sub"])
    )
    assert images.ids == ["10", "20", "30", "40"]
    assert list(images.labels) == [1, 0, -1, 1]


def test_without_ids_the_file_and_position_name_an_image(write, pixels):
    path = write(images=pixels.reshape(2, 2, 1, 12, 15))
    images = LensImages.open(path)
    assert images.ids == [f"{path.name}[{k}]" for k in range(4)]
    np.testing.assert_array_equal(images[3].image, pixels[3])
    assert LensImages.open(path.parent).ids == images.ids


def test_ids_of_several_files_in_a_folder_do_not_collide(pixels, tmp_path):
    for name in ("no_sub", "sub"):
        (tmp_path / name).mkdir()
        write_hdf5(tmp_path / name, images=pixels[:2], ids=np.array(["x", "y"]))
    ids = LensImages.open(tmp_path).ids
    assert ids == ["no_sub/a.h5[x]", "no_sub/a.h5[y]", "sub/a.h5[x]", "sub/a.h5[y]"]


def test_one_image_without_leading_axes(write, pixels):
    path = write(images=pixels[0])
    assert LensImages.open(path).ids == [path.name]


def test_files_named_after_a_class(pixels, tmp_path):
    np.save(tmp_path / "no_sub.npy", pixels[:1])
    np.save(tmp_path / "sub.npy", pixels)
    np.save(tmp_path / "more.npy", pixels[0])
    images = LensImages.open(tmp_path)
    assert images.ids[:3] == ["more.npy", "no_sub.npy[0]", "sub.npy[0]"]
    assert list(images.labels) == [-1, 0, 1, 1, 1, 1]
    assert set(LensImages.open(tmp_path / "sub.npy").labels) == {1}


def test_the_only_stack_is_found_under_any_name(write, pixels):
    path = write(cutouts=pixels, redshift=np.ones(4), ids=np.arange(4), psf=np.ones((4, 3, 3)))
    assert len(LensImages.open(path)) == 4


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": (4, 5, 5), "b": (4, 5, 5)}, r"called images .* found a \(4, 5, 5\), b"),
        ({"a": (4,)}, "one array called images"),
        ({"images": (4,)}, "no height and width"),
        ({"images": (0, 5, 5)}, "holds no image"),
        ({"images": (4, 32, 32, 3)}, "colours last.*--band 0$"),
        ({"images": (32, 32, 5)}, "colours last"),
        ({"images": (40, 3, 32, 32)}, r"colours first.*--band 0; .*reshape\(-1, 32, 32\)"),
        ({"images": (1, 5, 32, 32)}, "colours first"),
        ({"images": (100, 4096)}, r"flattened image in each row: array.reshape\(-1, 64, 64\)"),
        ({"images": (900, 400)}, r"reshape\(-1, 20, 20\); .* array.reshape\(1, 900, 400\)"),
        ({"a": (4096,)}, "one array called images"),
        ({"images": (4096,)}, r"no height and width; .*array.reshape\(64, 64\)"),
        ({"images": (4, 5, 5), "ids": (3,)}, "4 images but 3 ids"),
        ({"images": (4, 5, 5), "ids": (4,)}, "not unique: 0"),
        ({"images": (4, 5, 5), "labels": (2,)}, "4 images but 2 labels"),
        ({"images": (1, 9000, 9000)}, "too many for a cutout"),
        ({}, "found nothing"),
    ],
)
def test_files_that_hold_no_clear_stack_are_refused_in_one_line(write, arrays, said):
    path = write(**{name: np.zeros(shape, np.uint8) for name, shape in arrays.items()})
    with pytest.raises(DataError, match=said) as caught:
        LensImages.open(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_values_that_are_no_numbers_are_a_reason(write):
    images = LensImages.open(write(images=np.ones((3, 5, 5), complex)))
    assert "not real numbers" in images[0].error


def test_a_quantisation_table_is_64_whole_numbers_from_1(write, pixels):
    table = np.arange(64).reshape(8, 8)
    path = write(images=pixels, jpeg_table=table + 1)
    np.testing.assert_array_equal(LensImages.open(path)[3].jpeg_table, table + 1)
    for wrong in (table, (table + 1)[:7], table + 1.0):
        with pytest.raises(DataError, match="jpeg_table is no 8x8 table of whole numbers from 1"):
            LensImages.open(write(images=pixels, jpeg_table=wrong))


def test_the_pixel_scale_nearest_to_the_images_counts(pixels, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("group/images", data=pixels)
    for scale, holder in ((0.3, "/"), (0.2, "group"), (0.1, "group/images")):
        with h5py.File(path, "a") as file:
            file[holder].attrs["pixel_scale_arcsec"] = scale
        assert LensImages.open(path)[0].pixel_scale_arcsec == scale


def test_8_bit_stacks_count_as_stretched(write):
    values = np.arange(60, dtype=np.uint8).reshape(1, 6, 10)
    assert LensImages.open(write(images=values))[0].stretched


@pytest.mark.parametrize("holder", ["file", "dataset", "group"])
def test_pixel_scale_attribute(holder, pixels, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("survey/run")
        group["images"], group["labels"] = pixels, np.ones(4, int)
        place = {"file": file, "dataset": group["images"], "group": group}[holder]
        place.attrs["pixel_scale_arcsec"] = 0.05
    images = LensImages.open(tmp_path / "a.h5", pixel_scale_arcsec=0.2)
    assert images[0].pixel_scale_arcsec == 0.05
    assert set(images.labels) == {1}


def test_pixel_scale_in_npz(pixels, tmp_path):
    path = write_npz(tmp_path, images=pixels, pixel_scale_arcsec=np.array(0.11))
    assert LensImages.open(path)[0].pixel_scale_arcsec == 0.11


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    trap = np.empty(3, object)
    trap[:] = [Trap()] * 3
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=trap)
    np.savez(tmp_path / "c.npz", images=np.zeros((3, 5, 5)), ids=trap)
    (tmp_path / "d.npy").write_bytes(pickle.dumps(Trap()))
    images = LensImages.open(tmp_path)
    assert len(images) == 4
    assert all(item.error for item in images)
    with pytest.raises(DataError, match="Python objects"):
        LensImages.open(tmp_path / "a.npy")


def test_a_cut_off_npy_gives_the_images_it_holds(pixels, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, pixels)
    path.write_bytes(path.read_bytes()[: -pixels[0].nbytes - 4])
    images = LensImages.open(path)
    assert [bool(item.error) for item in images] == [False, False, True, True]
    assert "cut off" in images[2].error
    np.testing.assert_array_equal(images[:2].stack().pixels, pixels[:2])
    path.write_bytes(path.read_bytes()[:200])
    assert all("cut off" in item.error for item in LensImages.open(path))


def test_a_header_that_claims_billions_of_images_is_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 50, 50)}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.write(bytes(20000))
    with pytest.raises(DataError, match="absurdly many"):
        LensImages.open(tmp_path / "a.npy")


def test_npy_is_mapped_and_not_read(tmp_path):
    # A sparse file of 8 GB: reading it whole would show.
    with (tmp_path / "a.npy").open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (200_000, 100, 100)}
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
        image = np.random.default_rng(0).random((100, 100)).astype("<f4")
        stream.seek(start + 150_000 * image.nbytes)
        stream.write(image.tobytes())
        stream.truncate(start + 200_000 * image.nbytes)
    images = LensImages.open(tmp_path / "a.npy")
    np.testing.assert_array_equal(images[150_000].image, image)
    assert "constant" in images[150_001].error


def test_more_files_than_a_process_may_open(pixels, tmp_path):
    resource = pytest.importorskip("resource")

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for k in range(80):
        with h5py.File(tmp_path / f"{k}.h5", "w") as file:
            file["images"] = pixels[:1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        assert not any(item.error for item in LensImages.open(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (2,)}, {"chunks": (2,), "compression": "gzip"}],
    ids=["plain", "chunked", "compressed"],
)
def test_texts_in_hdf5_are_read_only_from_heaps_that_hold_them(options, pixels, tmp_path):
    path, names = tmp_path / "lenses.h5", [f"lens {k}" for k in range(len(pixels))]
    with h5py.File(path, "w") as file:
        file["images"] = pixels
        file.create_dataset("ids", data=names, **options)
    assert LensImages.open(path).ids == names
    content = path.read_bytes()
    heap = content.index(b"GCOL")
    # The library would walk forever through an object without a length, and take memory for all
    # of a heap that reaches beyond the file.
    for at, value, said in [(16 + 8, 2**63, "is damaged"), (8, 2**40, "does not hold them"),
                            (0, 0, "there is no heap")]:  # fmt: skip
        spoilt = bytearray(content)
        spoilt[heap + at : heap + at + 8] = value.to_bytes(8, "little")
        path.write_bytes(spoilt)
        with pytest.raises(DataError, match=f"texts of /ids cannot be read: .*{said}"):
            LensImages.open(path)


def test_texts_that_no_check_can_follow_are_refused(pixels, tmp_path):
    with h5py.File(tmp_path / "lenses.h5", "w") as file:
        file["images"] = pixels
        file.create_dataset("ids", data=["a"] * len(pixels), chunks=(2,), compression="lzf")
    with pytest.raises(DataError, match="not by gzip alone"):
        LensImages.open(tmp_path / "lenses.h5")


@pytest.mark.parametrize("axis", [1, -1])
def test_one_band_of_a_stack_is_chosen_by_its_number(axis, write):
    cube = np.random.default_rng(0).random((6, 3, 16, 15)).astype(np.float32)
    noise, psf = cube + 1, np.random.default_rng(1).random((3, 5, 5))
    known = {"images": np.moveaxis(cube, 1, axis), "noise": np.moveaxis(noise, 1, axis)}
    path = write(**known, **({"psf": psf} if axis == 1 else {}), labels=[0, 1] * 3)
    images = LensImages.open(path, band="2")
    assert len(images) == 6
    for k, item in enumerate(images):
        np.testing.assert_array_equal(item.image, cube[k, 2])
        np.testing.assert_array_equal(item.noise, noise[k, 2])
        if axis == 1:
            np.testing.assert_allclose(item.psf, psf[2] / psf[2].sum(), rtol=1e-6)
    again = pickle.loads(pickle.dumps(images))
    np.testing.assert_array_equal(again[5].image, cube[5, 2])
    for wrong in ("3", "-1", "g"):
        with pytest.raises(DataError, match=f"'{wrong}' .* with bands from 0 to 2"):
            LensImages.open(path, band=wrong)


def test_a_psf_for_each_image_or_each_band_is_not_guessed(write):
    cube = np.random.default_rng(0).random((3, 3, 16, 15))
    path = write(images=cube, psf=np.ones((3, 5, 5)))
    with pytest.raises(DataError, match="one for each image or one for each band"):
        LensImages.open(path, band="0")


def test_one_band_is_chosen_by_the_name_of_its_array(write, pixels):
    path = write(F106=pixels, F129=pixels + 1)
    with pytest.raises(DataError, match="found F106 .*choose one by its name with --band"):
        LensImages.open(path)
    np.testing.assert_array_equal(LensImages.open(path, band="F129")[2].image, pixels[2] + 1)


@pytest.mark.parametrize("layout", ["{}.npy", "lens{}/cutout.npy", "no_sub/{}.npy"])
def test_files_of_a_few_planes_each_are_lenses_of_several_bands(layout, tmp_path):
    cube = np.random.default_rng(0).random((5, 3, 16, 15)).astype(np.float32)
    for k, lens in enumerate(cube):
        path = tmp_path / layout.format(k)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, lens)
    refused = LensImages.open(tmp_path)
    assert len(refused) == 5
    assert all("3 planes, as in 5 files here" in item.error for item in refused)
    assert not any("[" in name for name in refused.ids)
    chosen = LensImages.open(tmp_path, band="1")
    np.testing.assert_array_equal(chosen.stack().pixels, cube[:, 1])
    assert len(set(chosen.ids)) == 5


def test_one_file_of_a_few_planes_may_be_images_and_that_is_said(write, pixels, tmp_path):
    path = write(images=pixels[:3])
    images = LensImages.open(path)
    assert len(images) == 3
    assert f"the 3 planes of {path.name} are read as images" in images.remarks()[0]
    del images
    assert LensImages.open(write(images=pixels[:3], ids=["a", "b", "c"])).remarks() == []
    assert LensImages.open(write(images=np.ones((9, 12, 15)))).remarks() == []


def test_a_cut_off_file_of_several_bands_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).random((6, 3, 16, 15)))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="cut off"):
        LensImages.open(path, band="0")


@pytest.mark.parametrize("images", [[np.eye(8), 1e-23], [np.eye(8)] * 3], ids=["mass", "many"])
def test_the_advice_for_python_objects_gives_images(images, tmp_path):
    objects = np.empty(len(images), object)
    objects[:] = images
    np.save(tmp_path / "old.npy", objects, allow_pickle=True)
    with pytest.raises(DataError, match="not read for safety; if you trust its source: ") as caught:
        LensImages.open(tmp_path / "old.npy")
    advice = str(caught.value).partition("source: ")[2].replace('"', f'"{tmp_path}/', 1)
    exec(advice.replace('save("', f'save("{tmp_path}/'), {"np": np})
    converted = LensImages.open(tmp_path / "new.npy")
    np.testing.assert_array_equal(converted[len(converted) - 1].image, np.eye(8))


def test_an_hdf5_filter_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        recipe = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        recipe.set_chunk((4, 8, 8))
        recipe.set_filter(65001, h5py.h5z.FLAG_OPTIONAL, ())  # a number that belongs to nobody
        place = h5py.h5s.create_simple((4, 8, 8))
        images = h5py.h5d.create(file.id, b"images", h5py.h5t.IEEE_F32LE, place, recipe)
        # The library writes a chunk that is said to be compressed without looking at it.
        images.write_direct_chunk((0, 0, 0), b"compressed")
    with pytest.raises(DataError, match=r"/images .* HDF5 filter 65001, .*lumpylens\[hdf5\]"):
        LensImages.open(tmp_path / "a.h5")


def test_filters_of_hdf5plugin_are_read(pixels, tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=pixels, **hdf5plugin.Blosc())
    np.testing.assert_array_equal(LensImages.open(tmp_path / "a.h5").stack().pixels, pixels)


@pytest.mark.parametrize("ending", ["npy", "h5"])
def test_noise_maps_and_masks_by_their_names_are_no_images(ending, pixels, tmp_path):
    for name in ("lens1", "lens1_noise_map", "lens1_mask", "psf"):
        path = tmp_path / f"{name}.{ending}"
        if ending == "npy":
            np.save(path, pixels[0])
        else:
            with h5py.File(path, "w") as file:
                file["images"] = pixels[0]
    images = LensImages.open(tmp_path)
    assert images.ids == [f"lens1.{ending}"]
    assert f"not used: 1 files such as lens1_noise_map.{ending} (noise map)" in images.remarks()
    assert len(images.remarks()) == 3
    assert len(LensImages.open(tmp_path / f"psf.{ending}")) == 1


def test_companions_are_known_by_the_names_that_the_field_gives_them(write, pixels):
    kernel = np.ones((3, 3))
    path = write(data=pixels, noise_map=pixels + 1, mask=np.ones((12, 15)), psf_kernel=kernel)
    item = LensImages.open(path)[1]
    np.testing.assert_array_equal(item.image, pixels[1])
    np.testing.assert_array_equal(item.noise, pixels[1] + 1)
    assert item.psf.shape == (3, 3)
    assert item.remarks == ("not used: mask (mask)",)


def test_what_became_image_noise_and_psf_is_known_by_name(write, pixels):
    path = write(images=pixels, noise_map=pixels + 1, psf=np.ones((3, 3)))
    expected = {"image": "images", "noise map": "noise_map", "PSF": "psf"}
    assert LensImages.open(path)[2].origins == expected
    given = LensImages.open(path, pixel_scale_arcsec=0.1)[2].origins
    assert given == expected | {"pixel scale": "as given"}
    colours = np.stack([pixels, pixels + 1], axis=1)
    assert LensImages.open(write(any_name=colours), band="1")[0].origins == {
        "image": "any_name", "band": "1",
    }  # fmt: skip


def test_the_scale_of_the_file_has_an_origin(write, pixels, tmp_path):
    path = write(images=pixels, pixel_scale_arcsec=0.05)
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file["images"].attrs["pixel_scale_arcsec"] = 0.05
    assert LensImages.open(path)[0].origins == {
        "image": "images", "pixel scale": "pixel_scale_arcsec",
    }  # fmt: skip


def test_an_image_with_an_id_of_its_own_that_fails_is_found_by_its_place(write, pixels):
    pixels[2, 0, 0] = np.nan
    path = write(images=pixels, ids=["a", "b", "c", "d"])
    reason = "1 of 180 pixels are NaN or infinite"
    place = f" (image 2 of {path.name}, counted from 0)"
    assert LensImages.open(path)[2].error == reason + place
    assert LensImages.open(path.parent)[2].error == reason + place
    assert LensImages.open(path)[1].error == ""
    assert LensImages.open(write(images=pixels))[2].error == reason, "its id says where it is"
