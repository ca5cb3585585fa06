"""Places on the sky: positions, directions and resampled frames against astropy."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from lumpylens.data.images import LensImage, LensImages
from lumpylens.data.sky import sky_of
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.recipe import digest_of_lens

SCALE = 0.05 / 3600


def header(angle_deg: float = 0.0, parity: int = -1, **changes) -> fits.Header:
    """A tangential projection turned by an angle; parity -1 is the sky as seen, 1 its mirror."""
    angle = math.radians(angle_deg)
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "ICRS",
        "CRVAL1": 150.0, "CRVAL2": 62.0, "CRPIX1": -300.0, "CRPIX2": 412.5,
        "CD1_1": parity * SCALE * math.cos(angle), "CD1_2": SCALE * math.sin(angle),
        "CD2_1": -parity * SCALE * math.sin(angle), "CD2_2": SCALE * math.cos(angle),
    }  # fmt: skip
    return fits.Header(cards | changes)


PLANES = {
    "north up": header(),
    "turned": header(37.0),
    "turned far": header(-160.0),
    "mirrored": header(37.0, parity=1),
    "galactic": header(20.0, CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"),
    "other order": header(20.0, CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=62.0, CRVAL2=150.0),
    "B1950": header(20.0, RADESYS="FK4", EQUINOX=1950.0),
}


def placed(plane: fits.Header, column: float, row: float) -> SkyCoord:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(plane).pixel_to_world(column, row).icrs


@pytest.mark.parametrize("name", PLANES)
def test_positions_are_those_of_astropy(name):
    plane = PLANES[name]
    frame = sky_of(plane).frame(40.0, 50.0)
    assert frame.pixel_arcsec == pytest.approx(0.05, rel=1e-4)
    here = placed(plane, 40.0, 50.0)
    assert (frame.ra_deg, frame.dec_deg) == pytest.approx((here.ra.deg, here.dec.deg), abs=1e-9)
    for x_px, y_px in ((30.0, 0.0), (0.0, 30.0), (-25.0, 17.0)):
        position = frame.position(x_px * frame.pixel_arcsec, y_px * frame.pixel_arcsec)
        truth = placed(plane, 40.0 + x_px, 50.0 + y_px)
        off = SkyCoord(*position, unit="deg").separation(truth)
        assert off.arcsec < 1e-3, "a fiftieth of a pixel"


@pytest.mark.parametrize("name", PLANES)
def test_arrows_point_north_and_east(name):
    plane = PLANES[name]
    frame = sky_of(plane).frame(40.0, 50.0)
    here = placed(plane, 40.0, 50.0)
    for (x, y), angle in ((frame.north, 0.0), (frame.east, 90.0)):
        assert math.hypot(x, y) == pytest.approx(1)
        there = placed(plane, 40.0 + 10 * x, 50.0 + 10 * y)
        turned = here.position_angle(there).deg - angle
        assert (turned + 180) % 360 - 180 == pytest.approx(0, abs=0.01)


def test_north_is_where_a_turned_matrix_says():
    frame = sky_of(header(30.0)).frame(-301.0, 411.5)
    assert frame.north == pytest.approx((math.sin(math.radians(30)), math.cos(math.radians(30))))
    assert frame.east == pytest.approx((-math.cos(math.radians(30)), math.sin(math.radians(30))))
    mirrored = sky_of(header(0.0, parity=1)).frame(-301.0, 411.5)
    assert mirrored.east == pytest.approx((1, 0), abs=1e-6)


def test_a_resampled_array_has_the_same_sky():
    plane = PLANES["turned"]
    frame = sky_of(plane).frame(40.0, 50.0)
    coarse = WCS(fits.Header(frame.header(column=7.0, row=4.0, pixel_arcsec=0.1)))
    position = coarse.pixel_to_world(7.0 + 3, 4.0 - 2)
    assert position.separation(placed(plane, 40.0 + 6, 50.0 - 4)) < 1e-3 * units.arcsec


def test_frames_that_differ_by_rounding_alone_are_one():
    first = sky_of(PLANES["turned"]).frame(40.0, 50.0)
    again = sky_of(header(37.0, CRVAL1=150.0 + 1e-10)).frame(40.0, 50.0)
    other = sky_of(header(37.1)).frame(40.0, 50.0)
    assert first.rounded() == again.rounded() != other.rounded()


@pytest.mark.parametrize(
    "plane",
    [
        fits.Header(),
        header(CTYPE1="LINEAR", CTYPE2="LINEAR"),
        header(CTYPE1="WAVE", CTYPE2="DEC--TAN"),
    ],
)
def test_other_coordinates_are_none(plane):
    assert sky_of(plane) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"CD1_2": -SCALE, "CD2_1": SCALE},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CTYPE2": "RA---TAN"},
        {"CRVAL2": 200.0},
    ],
)
def test_a_header_without_sense_has_no_frame(changes):
    assert sky_of(header(**changes)).frame(0.0, 0.0) is None


def test_the_reader_of_fits_keeps_the_sky(tmp_path):
    pixels = np.random.default_rng(0).random((9, 11)).astype("f4")
    fits.writeto(tmp_path / "a.fits", pixels, PLANES["turned"])
    fits.writeto(tmp_path / "b.fits", pixels)
    known, unknown = LensImages.open(tmp_path)
    frame = known.sky.frame(5.0, 4.0)
    truth = placed(PLANES["turned"], 5.0, 4.0)
    assert (frame.ra_deg, frame.dec_deg) == pytest.approx((truth.ra.deg, truth.dec.deg), abs=1e-9)
    assert unknown.sky is None


def lens_with(plane: fits.Header, scale: float) -> LensImage:
    pixels = np.random.default_rng(0).random((101, 101))
    return LensImage.checked(
        "a", pixels, noise=np.ones((101, 101)), psf=np.ones((3, 3)), pixel_scale_arcsec=scale,
        sky=sky_of(plane),
    )  # fmt: skip


def test_a_cutout_knows_the_sky_around_its_middle():
    cutout = cutout_of(lens_with(PLANES["turned"], 0.05))
    truth = placed(PLANES["turned"], 50.0, 50.0)
    assert cutout.sky.position(0.0, 0.0) == pytest.approx((truth.ra.deg, truth.dec.deg), abs=1e-9)
    assert cutout_of(lens_with(PLANES["turned"], 0.0504)).sky is not None
    assert cutout_of(lens_with(PLANES["turned"], 0.051)).sky is None, "pixels of another size"
    assert cutout_of(lens_with(fits.Header(), 0.05)).sky is None


def test_a_lens_elsewhere_on_the_sky_is_fitted_again():
    digests = {
        digest_of_lens(cutout_of(lens_with(plane, 0.05)), seed=0)
        for plane in (PLANES["turned"], PLANES["mirrored"], fits.Header())
    }
    assert len(digests) == 3


def test_a_real_cutout_lies_where_its_name_says(real_data):
    """Euclid names a lens after its right ascension and declination in degrees."""
    (image,) = LensImages.open(real_data / "euclid", band="VIS")
    assert "NEG570040238507752998" in image.id
    position = cutout_of(image).sky.position(0.0, 0.0)
    here, there = (SkyCoord(*at, unit="deg") for at in (position, (57.0040238, -50.7752998)))
    assert here.separation(there).arcsec < 0.1
