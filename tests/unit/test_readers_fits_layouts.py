"""FITS files as telescopes and modelling codes write them: which pixels are what."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

from lumpylens.data import LensImages
from lumpylens.data.noise import MASKED_OVER_TYPICAL
from lumpylens.errors import DataError

PSF = np.outer([1, 2, 1], [1, 2, 1]).astype(float)


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(30, 34)).astype(np.float32)


def save(path, *planes):
    """Write planes as (name, pixels) or (name, pixels, header); an empty name is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [fits.PrimaryHDU()]
    for name, pixels, *header in planes:
        hdus.append(fits.ImageHDU(pixels, fits.Header(*header), name=name or None))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def only(path, **options):
    (item,) = LensImages.open(path, **options)
    return item


def pyautolens_folder(folder, image, noise="noise_map"):
    for name, pixels in (("data", image), (noise, image * 0 + 2), ("psf", PSF),
                         ("mask", image * 0), ("mask_extra_galaxies", image * 0 + 1)):  # fmt: skip
        save(folder / f"{name}.fits", ("", pixels))


def test_folders_of_pyautolens(image, tmp_path):
    for k in range(2):
        pyautolens_folder(tmp_path / f"lens{k}", image + k)
    images = LensImages.open(tmp_path)
    assert images.ids == ["lens0", "lens1"]
    np.testing.assert_array_equal(images[1].image, image + 1)
    assert set(images[1].noise.flat) == {2}
    assert images[1].psf.shape == (3, 3)
    assert images.remarks() == ["not used: 4 files such as lens0/mask.fits (mask)"]


@pytest.mark.parametrize(
    "name", ["noise_map", "noisemap", "error", "sigma", "rms", "err", "NOISE_MAP"]
)
def test_names_of_noise_maps(name, image, tmp_path):
    pyautolens_folder(tmp_path / "lens", image, noise=name)
    (item,) = LensImages.open(tmp_path)
    assert set(item.noise.flat) == {2}


@pytest.mark.parametrize("name", ["var", "variance"])
def test_variances_by_file_name_give_their_root(name, image, tmp_path):
    save(tmp_path / "a.fits", ("", image))
    save(tmp_path / f"a_{name}.fits", ("", image * 0 + 9))
    assert set(only(tmp_path).noise.flat) == {3}


@pytest.mark.parametrize("name", ["wht", "weight", "ivar", "invvar"])
def test_inverse_variances_by_file_name_are_said(name, image, tmp_path):
    save(tmp_path / "a.fits", ("", image))
    weight = np.full_like(image, 1.0)
    weight[0, 0] = 0
    save(tmp_path / f"a_{name}.fits", ("", weight))
    item = only(tmp_path)
    assert not item.error
    assert set(item.noise.flat) == {1, np.float32(MASKED_OVER_TYPICAL)}
    assert item.remarks == (
        "weights are taken as 1 / variance",
        "pixels without noise (or with weight 0) are taken as masked",
    )


def test_weights_that_are_called_inverse_variances_are_taken_as_such(image, tmp_path):
    """Whether they agree with the scatter is for the user to see."""
    item = only(save(tmp_path / "a.fits", ("SCI", image), ("IVAR", image * 0 + 1e-4)))
    np.testing.assert_allclose(item.noise, 100)


def test_weights_that_are_exposure_times_are_left_out(image, tmp_path):
    save(tmp_path / "a.fits", ("", image))
    save(tmp_path / "a_wht.fits", ("", image * 0 + 2200))
    item = only(tmp_path)
    assert item.noise is None
    assert "weights are not used" in item.remarks[0]


@pytest.mark.parametrize("name", ["mask", "dq", "flag", "con", "ctx", "mask_lens", "drz_ctx"])
def test_masks_are_never_images(name, image, tmp_path):
    save(tmp_path / "a.fits", ("", image))
    mask = save(tmp_path / f"{name}.fits", ("", image * 0))
    images = LensImages.open(tmp_path)
    assert images.ids == ["a.fits"]
    assert f"not used: 1 file, {name}.fits" in images.remarks()[0]
    with pytest.raises(DataError, match="is no image by its name"):
        LensImages.open(mask)
    (tmp_path / "a.fits").unlink()
    with pytest.raises(DataError, match=f"no images in .*not used: 1 file, {name}.fits") as caught:
        LensImages.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_named_alone_says_nothing_of_its_neighbours(image, tmp_path):
    save(tmp_path / "a.fits", ("", image))
    save(tmp_path / "mask.fits", ("", image * 0))
    assert LensImages.open(tmp_path / "a.fits").remarks() == []


def test_names_that_only_resemble_companions_are_images(image, tmp_path):
    names = ["model_a_1.fits", "sky_3.fits", "unmasked.fits", "psfless.fits", "a_con1.fits"]
    for name in names:
        save(tmp_path / name, ("", image))
    assert LensImages.open(tmp_path).ids == sorted(names)


def test_two_noise_maps_of_one_image_are_told(image, tmp_path):
    for name in ("a", "a_err", "a_rms"):
        save(tmp_path / f"{name}.fits", ("", image * 0 + len(name)))
    images = LensImages.open(tmp_path)
    assert images.ids == ["a.fits"]
    assert images.sources[0].remarks == ["not used: 1 file, a_rms.fits (noise map)"]


def test_the_single_file_of_pyautolens(image, tmp_path):
    """What `hdu_list_for_output_from` of PyAutoConf 2026 writes: the mask is the primary array."""
    mask = np.ones_like(image)
    mask[5:25, 5:25] = 0
    kept = 1 - mask
    header = fits.Header({"PIXSCAY": 0.1, "PIXSCAX": 0.1, "EXTNAME": "MASK"})
    hdus = [fits.PrimaryHDU(mask, header)]
    for name, pixels in (("DATA", image * kept), ("NOISE_MAP", kept * 2), ("PSF", PSF),
                         ("OVER_SAMPLE_SIZE_LP", mask + 3)):  # fmt: skip
        hdus.append(fits.ImageHDU(pixels, fits.Header({"PIXSCAY": 0.1, "PIXSCAX": 0.1}), name))
    fits.HDUList(hdus).writeto(tmp_path / "dataset.fits")
    item = only(tmp_path / "dataset.fits")
    assert not item.error
    np.testing.assert_array_equal(item.image, image * kept)
    assert set(item.noise[mask == 0]) == {2}
    assert set(item.noise[mask == 1]) == {np.float32(2 * MASKED_OVER_TYPICAL)}
    assert item.psf.shape == (3, 3)
    assert item.pixel_scale_arcsec == 0.1
    assert item.remarks[:2] == (
        "pixels without noise (or with weight 0) are taken as masked",
        "not used: MASK (mask), OVER_SAMPLE_SIZE_LP (other map)",
    )


def test_a_noise_map_of_zeros_alone_is_a_defect(image, tmp_path):
    item = only(save(tmp_path / "a.fits", ("SCI", image), ("ERR", image * 0)))
    assert "1020 of 1020 pixels of the noise map are NaN, infinite or not positive" in item.error


@pytest.mark.parametrize("first", ["MASK", "DQ", "WHT", "WEIGHT", "CON", "CTX", "IVAR"])
def test_a_mask_or_weight_before_the_image_is_not_taken_for_it(first, image, tmp_path):
    item = only(save(tmp_path / "a.fits", (first, image * 0 + 1), ("", image)))
    np.testing.assert_array_equal(item.image, image)
    alone = only(save(tmp_path / "b.fits", (first, image * 0 + 1)))
    assert alone.error.startswith(f"the FITS file holds no image: {first}")


def test_a_jwst_image(image, tmp_path):
    """The extensions of i2d products of the JWST pipeline; its variances are parts of ERR."""
    planes = [("SCI", image), ("ERR", image * 0 + 2), ("CON", image[None].astype(np.int32)),
              ("WHT", image * 0 + 7), ("VAR_POISSON", image * 0 + 3), ("VAR_RNOISE", image * 0 + 1),
              ("VAR_FLAT", image * 0)]  # fmt: skip
    item = only(save(tmp_path / "jw_i2d.fits", *planes))
    np.testing.assert_array_equal(item.image, image)
    assert set(item.noise.flat) == {2}
    assert item.remarks == (
        "not used: WHT (weight map), CON (other map), VAR_POISSON (other map), "
        "VAR_RNOISE (other map), VAR_FLAT (other map)",
    )


@pytest.mark.parametrize(
    ("uncertainty", "stored"),
    [(StdDevUncertainty, 2.0), (VarianceUncertainty, 4.0), (InverseVariance, 0.25)],
)
def test_ccddata_of_astropy(uncertainty, stored, image, tmp_path):
    data = CCDData(
        image.astype(float), unit="adu", mask=image > 2, psf=PSF,
        uncertainty=uncertainty(np.full(image.shape, stored)),
    )  # fmt: skip
    data.write(tmp_path / "a.fits")
    item = only(tmp_path / "a.fits")
    np.testing.assert_array_equal(item.image, image)
    assert set(item.noise.flat) == {2}
    np.testing.assert_allclose(item.psf, PSF / 16)
    assert item.remarks[-1] == "not used: MASK (mask)"


def test_an_uncertainty_of_unknown_kind_is_left_out(image, tmp_path):
    planes = [("", image), ("UNCERT", image * 0 + 2, {"UTYPE": "UnknownUncertainty"})]
    item = only(save(tmp_path / "a.fits", *planes))
    assert item.noise is None
    assert "the noise map is not used: its UTYPE is UnknownUncertainty" in item.remarks


def test_hsc_names_its_planes_by_exttype(image, tmp_path):
    pixels = {"IMAGE": image, "MASK": image.astype(np.int32), "VARIANCE": image * 0 + 4}
    planes = [("", values, {"EXTTYPE": name}) for name, values in pixels.items()]
    item = only(save(tmp_path / "a.fits", *planes))
    np.testing.assert_array_equal(item.image, image)
    assert set(item.noise.flat) == {2}


def euclid(path, image):
    planes = []
    for k, band in enumerate(("DES_G", "VIS", "NIR_H")):
        planes += [(f"{band}_BGSUB", image + k), (f"{band}_PSF", PSF + k), (f"{band}_RMS",
                   image * 0 + k + 1)]  # fmt: skip
    return save(path, *planes)


def test_euclid_cutouts_are_read_in_vis(image, tmp_path):
    item = only(euclid(tmp_path / "a.fits", image))
    np.testing.assert_array_equal(item.image, image + 1)
    assert set(item.noise.flat) == {2}
    np.testing.assert_allclose(item.psf, (PSF + 1) / 25, rtol=1e-6)
    assert item.remarks == ("of the bands DES_G, VIS, NIR_H, VIS is taken (choose with band)",)


def test_another_band_of_euclid(image, tmp_path):
    item = only(euclid(tmp_path / "a.fits", image), band="nir_h")
    np.testing.assert_array_equal(item.image, image + 2)
    assert set(item.noise.flat) == {3}
    assert item.remarks == ("not used: the other images, DES_G, VIS",)


def test_a_band_that_is_not_there(image, tmp_path):
    euclid(tmp_path / "a.fits", image)
    for place in (tmp_path, tmp_path / "a.fits"):
        with pytest.raises(DataError, match="'I' from: it holds DES_G, VIS, NIR_H"):
            LensImages.open(place, band="I")


def test_a_lens_that_lacks_the_band_is_a_row(image, tmp_path):
    save(tmp_path / "a.fits", ("DES_G_BGSUB", image))
    euclid(tmp_path / "b.fits", image)
    lacking, complete = LensImages.open(tmp_path, band="VIS")
    assert not complete.error
    assert lacking.error == "no bands to choose 'VIS' from: it holds one image, DES_G"


def test_bands_without_a_default_are_listed(image, tmp_path):
    planes = [("SCI_F814W", image), ("ERR_F814W", image * 0 + 1), ("SCI_F160W", image)]
    path = save(tmp_path / "a.fits", *planes)
    expected = "holds several images: F814W, F160W; choose one with band, such as --band F814W"
    assert only(path).error == expected
    assert set(only(path, band="F814W").noise.flat) == {1}
    assert only(path, band="F160W").noise is None


def test_planes_without_a_band_serve_several_images_only_as_psf(image, tmp_path):
    planes = [("SCI_A", image), ("SCI_B", image), ("ERR", image * 0 + 1), ("PSF", PSF)]
    item = only(save(tmp_path / "a.fits", *planes), band="B")
    assert item.noise is None
    assert item.psf is not None
    planes[-1] = ("PSF_A", PSF)
    assert only(save(tmp_path / "a.fits", *planes), band="B").psf is None
    assert only(tmp_path / "a.fits", band="A").psf is not None


def test_a_noise_map_that_may_be_of_either_image_is_not_used(image, tmp_path):
    path = save(tmp_path / "a.fits", ("SCI", image), ("SCI", image + 1), ("ERR", image * 0 + 1))
    item = only(path, band="1")
    assert not item.error
    assert item.noise is None
    assert "not used: ERR (noise map)" in item.remarks


def test_the_filter_tells_extensions_of_one_name_apart(image, tmp_path):
    planes = [("SCI", image + k, {"FILTER": name}) for k, name in enumerate(("g", "r"))]
    path = save(tmp_path / "a.fits", *planes)
    assert "holds several images: g, r" in only(path).error
    np.testing.assert_array_equal(only(path, band="r").image, image + 1)


def test_the_band_of_the_only_image_may_be_named(image, tmp_path):
    path = save(tmp_path / "a.fits", ("SCI", image, {"FILTER": "F814W"}))
    assert not only(path, band="f814w").error
    with pytest.raises(DataError, match="'F160W' from: it holds one image, F814W"):
        LensImages.open(path, band="F160W")


def astrocut(path, image, times):
    """What astrocut 1.4.0 writes with ``extension="all"``: the true name is in O_EXT_NM."""
    planes = []
    for k in range(times):
        for name, pixels in (
            ("SCI", image + k),
            ("ERR", image * 0 + k + 1),
            ("WHT", image * 0 + 9),
        ):
            planes.append(("CUTOUT", pixels, {"O_EXT_NM": name, "ORIG_FLE": ""}))
    return save(path, *planes)


def test_cutouts_of_astrocut(image, tmp_path):
    item = only(astrocut(tmp_path / "a.fits", image, 1))
    np.testing.assert_array_equal(item.image, image)
    assert set(item.noise.flat) == {1}
    path = astrocut(tmp_path / "b.fits", image, 2)
    assert only(path).error.startswith(
        "holds several images: 1 (SCI, 30x34), 4 (SCI, 30x34); choose one with band"
    )
    item = only(path, band="4")
    np.testing.assert_array_equal(item.image, image + 1)
    assert set(item.noise.flat) == {2}


def test_several_images_of_galsim(image, tmp_path):
    """`galsim.fits.writeMulti` (2.8) names no extension."""
    hdus = [fits.PrimaryHDU(image), fits.ImageHDU(image + 1), fits.ImageHDU(image + 2)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    assert (
        "holds several images: 0 (primary array, 30x34), 1 (extension 1, 30x34), "
        in only(tmp_path / "a.fits").error
    )
    np.testing.assert_array_equal(only(tmp_path / "a.fits", band="2").image, image + 2)


def test_a_cube_of_the_legacy_surveys(image, tmp_path):
    """cutout.fits?invvar: a cube with BAND0, BAND1, ..., and one of inverse variances."""
    bands = {"BANDS": "gr", "BAND0": "g", "BAND1": "r"}
    cube = np.stack([image, image + 1])
    planes = [("", cube, bands), ("INVVAR", cube * 0 + 0.25, bands)]
    path = save(tmp_path / "a.fits", *planes)
    assert "shape (2, 30, 34): g, r; choose one with band, such as --band g" in only(path).error
    item = only(path, band="r")
    np.testing.assert_array_equal(item.image, image + 1)
    assert set(item.noise.flat) == {2}
    assert item.remarks == (
        "not used: the other images, g", "weights are taken as 1 / variance",
    )  # fmt: skip


def test_an_image_of_a_cube_without_names_is_chosen_by_its_place(image, tmp_path):
    path = save(tmp_path / "a.fits", ("SCI", np.stack([image, image + 1, image + 2])))
    assert "holds an array of shape (3, 30, 34): 0, 1, 2; choose one" in only(path).error
    np.testing.assert_array_equal(only(path, band="1").image, image + 1)


@pytest.mark.parametrize("shape", [(40, 5, 6), (2, 3, 5, 6)])
def test_other_arrays_are_refused(shape, tmp_path):
    path = save(tmp_path / "a.fits", ("SCI", np.zeros(shape, np.float32)))
    assert f"shape {shape}, not one image" in only(path).error


def test_cases_as_reported(real_data):
    images = LensImages.open(real_data / "cases" / "01-autolens-noise_map")
    assert images.ids == ["lens0", "lens1"]
    assert all(item.noise is not None and item.psf is not None for item in images)
    for item in LensImages.open(real_data / "cases" / "03-euclid-planes"):
        assert item.noise is not None
        assert "VIS is taken" in item.remarks[0]
    batch = LensImages.open(real_data / "cases" / "14-wcs-last-digits").stack()
    assert batch.pixel_scale_arcsec == 0.05
    (item,) = LensImages.open(real_data / "euclid")
    assert (item.pixel_scale_arcsec, item.psf.shape, item.error) == (0.1, (21, 21), "")


def in_filter(path, image, name, ra=150.0, target=""):
    """A cutout whose header names its filter, and whose middle is at a right ascension."""
    height, width = image.shape
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": 2.0,
              "CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2,
              "CDELT1": -1e-5, "CDELT2": 1e-5}  # fmt: skip
    if target:
        header = {"OBJECT": target}
    primary = fits.PrimaryHDU(image, fits.Header(header | {"FILTER": name}))
    primary.writeto(path)


@pytest.mark.parametrize("target", ["", "J0956"])
def test_one_lens_in_filters_that_only_headers_name_is_refused(target, image, tmp_path):
    in_filter(tmp_path / "1.fits", image, "F606W", target=target)
    in_filter(tmp_path / "2.fits", image + 1, "F814W", target=target)
    with pytest.raises(DataError, match=r"1\.fits and 2\.fits, .* F606W, F814W; choose"):
        LensImages.open(tmp_path)
    images = LensImages.open(tmp_path, band="f814w")
    assert images.ids == ["2.fits"]
    np.testing.assert_array_equal(images[0].image, image + 1)
    assert images.remarks() == ["not used: 1 files, whose headers name other filters than f814w"]
    with pytest.raises(DataError, match="'F160W' from: it holds F606W, F814W"):
        LensImages.open(tmp_path, band="F160W")


def test_lenses_in_a_filter_each_are_read_with_a_remark(image, tmp_path):
    in_filter(tmp_path / "1.fits", image, "F606W")
    in_filter(tmp_path / "2.fits", image + 1, "F814W", ra=150.0 + 3 / 3600)
    images = LensImages.open(tmp_path)
    assert images.ids == ["1.fits", "2.fits"]
    (remark,) = images.remarks()
    assert "several filters (F606W in 1, F814W in 1)" in remark


def test_filters_on_the_two_wheels_of_acs(image, tmp_path):
    for k, name in enumerate(("F606W", "F814W")):
        primary = fits.PrimaryHDU(
            header=fits.Header({"FILTER1": "CLEAR1L", "FILTER2": name, "TARGNAME": "SDSSJ0956"})
        )
        fits.HDUList([primary, fits.ImageHDU(image + k, name="SCI")]).writeto(
            tmp_path / f"{k}_drz.fits"
        )
    with pytest.raises(DataError, match="F606W, F814W; choose one"):
        LensImages.open(tmp_path)
    (item,) = LensImages.open(tmp_path, band="F814W")
    np.testing.assert_array_equal(item.image, image + 1)
    assert item.origins["band"] == "F814W"
