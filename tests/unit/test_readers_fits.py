"""FITS: companions, extensions, blank pixels and the pixel scale."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.wcs import WCS

from lumpylens.data import LensImages
from lumpylens.errors import DataError


@pytest.fixture
def image():
    return np.random.default_rng(0).random((11, 14)).astype(np.float32)


PSF = np.outer([1, 2, 1], [1, 2, 1]).astype(float)


def save(path, array, **header):
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(array, fits.Header(header)).writeto(path)
    return path


def only(path, **options):
    (item,) = LensImages.open(path, **options)
    return item


def test_one_folder_per_lens(image, tmp_path):
    for k, name in enumerate(("J1", "J2")):
        save(tmp_path / name / "image.fits", image + k)
        save(tmp_path / name / "noise.fits", image + 1)
        save(tmp_path / name / "psf.fits", PSF)
    save(tmp_path / "J3" / "image.fits", image)
    (tmp_path / "README").write_text("x")
    images = LensImages.open(tmp_path)
    assert images.ids == ["J1", "J2", "J3"]
    np.testing.assert_array_equal(images[1].image, image + 1)
    np.testing.assert_array_equal(images[1].noise, image + 1)
    np.testing.assert_allclose(images[0].psf, PSF / 16)
    assert images[0].psf.dtype == images[0].noise.dtype == np.float32
    assert images[2].noise is None
    assert LensImages.open(tmp_path / "J1").ids == ["J1"]
    assert LensImages.open(tmp_path / "J1" / "image.fits")[0].noise is not None


def test_companions_beside_a_flat_file(image, tmp_path):
    save(tmp_path / "J1.fits", image)
    save(tmp_path / "J1_noise.fits", image + 1)
    save(tmp_path / "J1_PSF.fits", PSF)
    save(tmp_path / "J2_sci.fits", image + 5)
    save(tmp_path / "J2_err.fits", image + 2)
    save(tmp_path / "psf.fits", np.ones((1, 1)))
    images = LensImages.open(tmp_path)
    assert images.ids == ["J1.fits", "J2_sci.fits"]
    assert images[0].psf.shape == (3, 3)
    assert images[1].psf.shape == (1, 1)
    np.testing.assert_array_equal(images[1].noise, image + 2)
    alone = only(tmp_path / "J1.fits")
    np.testing.assert_array_equal(alone.noise, image + 1)
    with pytest.raises(DataError, match=r"J1_noise.fits is no image by its name"):
        LensImages.open(tmp_path / "J1_noise.fits")


def test_a_bare_companion_serves_folders_below_it(image, tmp_path):
    save(tmp_path / "psf.fits", PSF)
    save(tmp_path / "J1" / "image.fits", image)
    save(tmp_path / "J2" / "image.fits", image)
    save(tmp_path / "J2" / "psf.fits", np.ones((5, 5)))
    images = LensImages.open(tmp_path)
    assert images.ids == ["J1", "J2"]
    assert [item.psf.shape for item in images] == [(3, 3), (5, 5)]


def test_files_that_differ_in_their_ending_alone_are_all_read(image, tmp_path):
    for k, ending in enumerate((".fit", ".fits", ".fits.gz")):
        save(tmp_path / f"a{ending}", image + k)
    images = LensImages.open(tmp_path)
    assert images.ids == ["a.fit", "a.fits", "a.fits.gz"]
    np.testing.assert_array_equal(images[2].image, image + 2)


def test_class_folders_hold_lens_folders(image, tmp_path):
    save(tmp_path / "no_sub" / "a" / "image.fits", image)
    save(tmp_path / "sub" / "b" / "image.fits", image)
    images = LensImages.open(tmp_path)
    assert images.ids == ["no_sub/a", "sub/b"]
    assert list(images.labels) == [0, 1]


def test_a_companion_without_its_image_is_a_row(image, tmp_path):
    save(tmp_path / "J1" / "noise.fits", image)
    save(tmp_path / "J2" / "image.fits", image)
    save(tmp_path / "flat" / "a_psf.fits", PSF)
    save(tmp_path / "flat" / "b.fits", image)
    images = LensImages.open(tmp_path)
    assert dict(zip(images.ids, [item.error for item in images], strict=True)) == {
        "J1": "image.fits is missing",
        "J2": "",
        "flat/a.fits": "a.fits is missing",
        "flat/b.fits": "",
    }


def test_a_bad_companion_is_named(image, tmp_path):
    save(tmp_path / "a.fits", image)
    (tmp_path / "a_noise.fits").write_text("no noise")
    assert only(tmp_path / "a.fits").error.startswith("noise map a_noise.fits: ")
    (tmp_path / "a_noise.fits").unlink()
    save(tmp_path / "a_noise.fits", image[:5] + 1)
    assert "noise map has shape (5, 14)" in only(tmp_path / "a.fits").error


def test_extensions_by_name(image, tmp_path):
    fits.HDUList(
        [
            fits.PrimaryHDU(header=fits.Header({"PIXSCALE": 0.2})),
            fits.ImageHDU(PSF, name="PSF"),
            fits.ImageHDU(np.zeros_like(image), name="MASK"),
            fits.ImageHDU(image, name="SCI"),
            fits.ImageHDU(image + 1, name="ERR"),
            fits.BinTableHDU(name="EVENTS"),
        ]
    ).writeto(tmp_path / "a.fits")
    item = only(tmp_path / "a.fits")
    np.testing.assert_array_equal(item.image, image)
    np.testing.assert_array_equal(item.noise, image + 1)
    np.testing.assert_allclose(item.psf, PSF / 16)
    assert item.pixel_scale_arcsec == 0.2


def test_variance_becomes_noise(image, tmp_path):
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(image, name="IMAGE"),
            fits.ImageHDU(np.full_like(image, 9), name="VARIANCE"),
        ]
    ).writeto(tmp_path / "a.fits")
    assert set(only(tmp_path / "a.fits").noise.flat) == {3}


def test_axes_of_length_one_are_dropped_and_cubes_refused(image, tmp_path):
    np.testing.assert_array_equal(only(save(tmp_path / "a.fits", image[None, None])).image, image)
    assert "shape (2, 11, 14)" in only(save(tmp_path / "b.fits", np.stack([image] * 2))).error
    assert "no image" in only(save(tmp_path / "c.fits", None)).error


@pytest.mark.parametrize("blank", [-32768, 0])
@pytest.mark.parametrize("scaling", [{}, {"BSCALE": 0.5, "BZERO": 10.0}])
def test_blank_pixels_are_a_defect(blank, scaling, tmp_path):
    values = np.arange(1, 31, dtype=np.int16).reshape(5, 6)
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(values)
    hdu.header.update(BLANK=blank, **scaling)
    hdu.writeto(path)
    item = only(path)
    assert item.error == ""
    expected = values * scaling.get("BSCALE", 1) + scaling.get("BZERO", 0)
    np.testing.assert_array_equal(item.image, expected.astype(np.float32))
    values[2, 3] = blank
    hdu.data = values
    hdu.header.update(BLANK=blank, **scaling)
    hdu.writeto(path, overwrite=True)
    assert only(path).error == "1 of 30 pixels are NaN or infinite"


def test_blank_in_a_float_image_means_nothing(image, tmp_path):
    with pytest.warns(VerifyWarning):
        path = save(tmp_path / "a.fits", image, BLANK=0)
    assert only(path).error == ""


def test_unsigned_integers_with_blank(tmp_path):
    values = np.arange(40000, 40030, dtype=np.uint16).reshape(5, 6)
    hdu = fits.PrimaryHDU(values)
    hdu.header["BLANK"] = 40005 - 32768
    hdu.writeto(tmp_path / "a.fits")
    item = only(tmp_path / "a.fits")
    assert item.error == "1 of 30 pixels are NaN or infinite"
    assert item.image[0, 0] == 40000


def test_bytes_count_as_stretched_and_floats_do_not(image, tmp_path):
    assert only(save(tmp_path / "a.fits", np.arange(12, dtype=np.uint8).reshape(3, 4))).stretched
    item = only(save(tmp_path / "b.fits", image))
    assert not item.stretched
    assert item.file_bytes == (tmp_path / "b.fits").stat().st_size


@pytest.mark.parametrize(
    ("kind", "header", "stretched"),
    [
        (np.uint8, {}, True),
        (np.uint8, {"BSCALE": 1.0}, True),
        # Bytes with a scale of their own are numbers packed into bytes.
        (np.uint8, {"BSCALE": 0.5}, False),
        (np.int16, {}, False),
        (np.int32, {}, False),
        (np.float32, {}, False),
    ],
)
def test_bytes_without_a_scale_count_as_stretched(kind, header, stretched, tmp_path):
    hdu = fits.PrimaryHDU(np.arange(12, dtype=kind).reshape(3, 4))
    hdu.header.update(header)
    hdu.writeto(tmp_path / "a.fits")
    assert only(tmp_path / "a.fits").stretched is stretched


def rotated(scale_arcsec, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cd = turn @ np.diag([-1, 1]) * scale_arcsec / 3600
    return {f"CD{i + 1}_{j + 1}": cd[i, j] for i in range(2) for j in range(2)}


@pytest.mark.parametrize(
    ("header", "scale"),
    [
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", **rotated(0.05, 0.7)}, 0.05),
        (rotated(0.05, 0), 0.05),
        ({"CDELT1": -0.03 / 3600, "CDELT2": 0.03 / 3600}, 0.03),
        ({"CDELT1": -1.0, "CDELT2": 1.0, "CUNIT1": "arcsec", "CTYPE1": "RA---TAN"}, 1.0),
        ({"CDELT1": 0.1, "CDELT2": 0.1, "CUNIT1": "arcsec", "CUNIT2": "arcsec"}, 0.1),
        (
            {"CDELT1": 1.0, "CDELT2": 1.0, "PC1_1": -1e-5, "PC2_2": 1e-5, "CTYPE1": "GLON-CAR"},
            0.036,
        ),
        ({"CDELT1": -0.002, "CDELT2": 0.002, "CUNIT1": "arcmin"}, 0.12),
        ({"CDELT1": -1e-6, "CDELT2": 1e-6, "CUNIT1": "rad"}, 0.20626480625),
        ({"CDELT1": -1e-5, "CDELT2": 1e-5, "CTYPE1": "HPLN-TAN"}, 0.036),
        ({"PIXSCALE": 0.11}, 0.11),
        ({"CDELT1": 1.0, "CDELT2": 1.0}, None),
        ({"CDELT1": 1.0, "CDELT2": 1.0, "PIXSCALE": 0.2}, 0.2),
        ({"CTYPE1": "LINEAR", "CDELT1": 0.5, "CDELT2": 0.5}, None),
        ({"PIXSCAY": 0.1, "PIXSCAX": 0.1}, 0.1),
        ({"PIXSCAY": "0.1", "PIXSCAX": "0.1"}, 0.1),
        ({"PIXSCAY": 0.1}, None),
        # GalSim 2.8 writes flat coordinates in arcsec without a unit.
        (
            {
                "GS_WCS": "PixelScale",
                "GS_SCALE": 0.08,
                "CTYPE1": "LINEAR",
                "CD1_1": 0.08,
                "CD2_2": 0.08,
            },
            0.08,
        ),
        (
            {
                "GS_WCS": "JacobianWCS",
                "CTYPE1": "LINEAR",
                "CD1_1": 0.0,
                "CD1_2": 0.08,
                "CD2_1": -0.08,
                "CD2_2": 0.0,
            },
            0.08,
        ),
        ({"D001SCAL": 0.03}, 0.03),
        ({"PIXAR_A2": 0.0009}, 0.03),
        ({"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CD1_2": 1e-5, "CD2_1": 1e-5}, 0.036),
        ({"CTYPE1": "GLAT-CAR", "CTYPE2": "GLON-CAR", "CD1_2": 1e-5, "CD2_1": 1e-5}, 0.036),
        ({"PIXSCALE": "unknown"}, None),
        ({"PIXSCALE": -1.0}, None),
        ({"CDELT1": "?", "CDELT2": 1.0}, None),
        ({}, None),
    ],
)
def test_pixel_scale(header, scale, image, tmp_path):
    item = only(save(tmp_path / "a.fits", image, **header))
    assert not item.error
    assert item.pixel_scale_arcsec == (None if scale is None else pytest.approx(scale))


def sides(x, y, skew=0.0):
    """Header of pixels of `x` by `y` arcsec whose axes are not perpendicular by `skew` radians."""
    cd = np.array([[-x, y * np.sin(skew)], [0, y * np.cos(skew)]]) / 3600
    return {f"CD{i + 1}_{j + 1}": cd[i, j] for i in range(2) for j in range(2)}


OBLONG = "the pixels are not square but {} by {} arcsec; {} is taken for both sides"


@pytest.mark.parametrize(
    ("header", "remark"),
    [
        (sides(0.05, 0.05), ""),
        (sides(0.05, 0.05 * 1.0009), ""),
        (sides(0.05, 0.0503), OBLONG.format("0.0503", "0.05", "0.05015")),
        (sides(0.05, 0.05, skew=0.0009), ""),
        (sides(0.05, 0.05, skew=0.01), OBLONG.format("0.05025", "0.04975", "0.05")),
        ({"PIXSCAY": 0.05, "PIXSCAX": 0.0503}, OBLONG.format("0.0503", "0.05", "0.05015")),
        ({"CDELT1": -1e-5, "CDELT2": 1.01e-5}, OBLONG.format("0.03636", "0.036", "0.03618")),
    ],
)
def test_pixels_that_are_not_quite_square_are_a_remark(header, remark, image, tmp_path):
    item = only(save(tmp_path / "a.fits", image, **header))
    assert not item.error
    assert item.remarks == ((remark,) if remark else ())


@pytest.mark.parametrize("header", [sides(0.05, 0.052), sides(0.05, 0.05, skew=0.03),
                                    {"PIXSCAY": 0.05, "PIXSCAX": 0.1}])  # fmt: skip
def test_oblong_pixels_are_refused(header, image, tmp_path):
    item = only(save(tmp_path / "a.fits", image, **header))
    assert item.error.startswith("the pixels are not square but ")
    assert item.error.endswith(" arcsec; resample the image to square ones")


def test_the_scale_of_the_image_goes_before_that_of_the_file(image, tmp_path):
    first = fits.PrimaryHDU(header=fits.Header({"PIXSCALE": 0.5}))
    for name, own, scale in (("a", {"PIXSCALE": 0.1}, 0.1), ("b", {}, 0.5)):
        hdus = [first, fits.ImageHDU(image, fits.Header(own), name="SCI")]
        fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
        assert only(tmp_path / f"{name}.fits").pixel_scale_arcsec == scale


def test_pixel_scale_agrees_with_astropy(image, tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cdelt = [-2e-5, 2e-5]
    wcs.wcs.pc = [[0.8, -0.6], [0.6, 0.8]]
    fits.PrimaryHDU(image, wcs.to_header()).writeto(tmp_path / "a.fits")
    found = only(tmp_path / "a.fits").pixel_scale_arcsec
    assert found == pytest.approx(wcs.proj_plane_pixel_area().to_value("arcsec2") ** 0.5)


def test_the_user_fills_in_an_unknown_pixel_scale(image, tmp_path):
    assert only(save(tmp_path / "a.fits", image), pixel_scale_arcsec=0.3).pixel_scale_arcsec == 0.3
    path = save(tmp_path / "b.fits", image, PIXSCALE=0.1)
    assert only(path, pixel_scale_arcsec=0.3).pixel_scale_arcsec == 0.1


def test_a_header_that_claims_a_huge_image_is_refused_unread(image, tmp_path):
    path = save(tmp_path / "a.fits", image)
    header = path.read_bytes().replace(
        b"NAXIS1  =                   14", b"NAXIS1  =           1400000000"
    )
    path.write_bytes(header)
    assert "too many for a cutout" in only(path).error


def test_a_cut_off_file_is_a_reason_and_no_warning(tmp_path, recwarn):
    values = np.random.default_rng(0).random((50, 60)).astype(np.float32)
    path = save(tmp_path / "a.fits", values)
    path.write_bytes(path.read_bytes()[:5760])
    assert "cut off" in only(path).error
    assert not recwarn.list


def test_a_damaged_gzip_file_is_a_reason(image, tmp_path):
    content = gzip.compress(save(tmp_path / "a.fits", image).read_bytes())
    path = tmp_path / "b.fits.gz"
    path.write_bytes(content[:-8] + bytes(4) + content[-4:])
    assert "CRC check failed" in only(path).error
    path.write_bytes(content[:-40])
    assert only(path).error


def test_many_extensions_are_refused(image, tmp_path):
    hdus = [fits.PrimaryHDU(image), *(fits.ImageHDU() for _ in range(101))]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    assert "more than 100 extensions" in only(tmp_path / "a.fits").error


def test_real_lenses_have_noise_and_psf(real_data):
    images = LensImages.open(real_data / "slacs", pixel_scale_arcsec=0.05)
    assert len(images) == 24
    assert images.ids[:2] == ["J0008-0004", "J0330-0020"]
    batch = images.stack()
    assert batch.pixels.shape == batch.noise.shape == (24, 201, 201)
    assert batch.psf.shape == (24, 15, 15)
    assert batch.pixel_scale_arcsec == 0.05
    np.testing.assert_allclose(batch.psf.sum(axis=(1, 2)), 1, rtol=1e-5)
    raw = fits.getdata(real_data / "slacs" / "J0008-0004" / "image.fits")
    np.testing.assert_array_equal(images[0].image, raw.astype(np.float32))
    assert images.notes() == []
