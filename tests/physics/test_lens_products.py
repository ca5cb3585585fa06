"""What is drawn and written of a fitted lens: figure, thumbnail, FITS images and regions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image
from test_fitted_lens import changed

from lumpylens.data.sky import SkyFrame
from lumpylens.lenses.catalogue import row_of
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.pictures import pictures_of
from lumpylens.lenses.products import product_paths, write_products
from lumpylens.report.lens_figure import (
    ARROW_POINTS,
    _power_of_ten,
    _round_numbers,
    draw_lens_figure,
    write_lens_thumbnail,
)
from lumpylens.report.style import LIGHT

NORTH_UP, TURNED, MIRRORED = (
    SkyFrame(150.0, 2.0, ((a / 36000, b / 36000), (c / 36000, d / 36000)))
    for a, b, c, d in ((-1, 0, 0, 1), (-0.8, -0.6, -0.6, 0.8), (0.8, -0.6, 0.6, 0.8))
)
"""Pixels of 0.1 arcsec: north up; turned; turned and mirrored."""


@pytest.fixture
def analysis(fitted_lens):
    return fitted_lens.analysis


def on_sky(analysis, sky):
    return replace(analysis, cutout=replace(analysis.cutout, sky=sky))


@pytest.mark.parametrize("sky", [NORTH_UP, TURNED, MIRRORED])
def test_lens_and_perturber_have_a_place_on_the_sky(analysis, sky):
    shifted = on_sky(changed(analysis, light_x=0.3, light_y=-0.2), sky)
    row = row_of(shifted, [], "digest")
    plane = WCS(fits.Header(sky.header(25.0, 25.0, 0.1)))
    x, y = row.perturber_x_arcsec, row.perturber_y_arcsec
    for place, at_x, at_y in (
        ((row.ra_deg, row.dec_deg), 0.3, -0.2),
        ((row.perturber_ra_deg, row.perturber_dec_deg), 0.3 + x, -0.2 + y),
    ):
        column, line = plane.wcs_world2pix(*place, 0)
        assert (column - 25, line - 25) == pytest.approx((at_x / 0.1, at_y / 0.1), abs=1e-4)
    assert math.isnan(row_of(on_sky(analysis, None), [], "digest").ra_deg)


def written(analysis, folder):
    """FITS extensions and region lines of an analysis."""
    row = row_of(analysis, [], "digest")
    write_products(analysis, pictures_of(analysis), row, folder)
    fits_file, region_file = product_paths(row.id, folder)
    with fits.open(fits_file, memmap=False) as hdus:
        images = {hdu.name: hdu.copy() for hdu in hdus[1:]}
    return row, images, region_file.read_text().splitlines()


@pytest.mark.parametrize("sky", [NORTH_UP, TURNED, MIRRORED])
def test_fits_images_lie_where_the_lens_is_on_the_sky(analysis, sky, tmp_path):
    row, images, regions = written(on_sky(analysis, sky), tmp_path)
    assert list(images) == ["DATA", "MODEL", "RESIDUAL", "SOURCE", "SNR", "SENSITIVITY"]
    # The cutout has 51 x 51 pixels; its middle is the point of the frame.
    whole = WCS(fits.Header(sky.header(25.0, 25.0, 0.1)))
    data, cutout = images["DATA"], analysis.cutout.image
    for column, line in ((0, 0), (30, 11), (7, 33)):
        value = data.data[line, column]
        if math.isnan(value):
            continue
        x, y = whole.wcs_world2pix(*WCS(data.header).wcs_pix2world(column, line, 0), 0)
        assert (x, y) == pytest.approx((round(float(x)), round(float(y))), abs=1e-3)
        assert value == pytest.approx(cutout[round(float(y)), round(float(x))], rel=1e-5)
    line, column = np.unravel_index(np.nanargmax(images["SNR"].data), images["SNR"].data.shape)
    best = int(analysis.map.snr.argmax())
    x, y = whole.wcs_world2pix(*WCS(images["SNR"].header).wcs_pix2world(column, line, 0), 0)
    expected = (25 + float(analysis.map.x[best]) / 0.1, 25 + float(analysis.map.y[best]) / 0.1)
    assert (float(x), float(y)) == pytest.approx(expected, abs=1e-3)
    lens, source = analysis.reported.lens, images["SOURCE"]
    middle = [(length - 1) / 2 for length in source.data.shape]
    x, y = whole.wcs_world2pix(*WCS(source.header).wcs_pix2world(*middle, 0), 0)
    expected = (25 + lens["source_x"] / 0.1, 25 + lens["source_y"] / 0.1)
    assert (float(x), float(y)) == pytest.approx(expected, abs=1e-3)
    assert regions[0] == "icrs"
    assert regions[1].startswith(f"circle({row.ra_deg:.8f},{row.dec_deg:.8f},")


def test_without_a_sky_the_coordinates_are_arcsec_from_the_lens(analysis, tmp_path):
    row, images, regions = written(on_sky(analysis, None), tmp_path)
    for name in ("DATA", "SNR"):
        plane = WCS(images[name].header)
        column, line = plane.wcs_world2pix(0.3, -0.2, 0)
        left, bottom = plane.wcs_world2pix(0, 0, 0)
        assert (column - left, line - bottom) == pytest.approx((3, -2)), "0.1 arcsec per pixel"
    light = WCS(images["DATA"].header).wcs_world2pix(0, 0, 0)
    peak = np.unravel_index(np.nanargmax(images["DATA"].data), images["DATA"].data.shape)
    assert light == pytest.approx(peak[::-1], abs=1)
    residual = (images["DATA"].data - images["MODEL"].data) / images["RESIDUAL"].data
    assert np.nanmin(residual) > 0
    assert regions[0] == "image"
    x, y, radius = (float(part) for part in regions[1][7:].split(")")[0].split(","))
    assert (x, y) == pytest.approx(
        (26 + row.centre_x_arcsec / 0.1, 26 + row.centre_y_arcsec / 0.1), abs=1e-3
    )
    assert radius == pytest.approx(row.einstein_radius_arcsec / 0.1, abs=1e-3)


def test_a_thumbnail_has_row_0_at_the_bottom(analysis, tmp_path):
    data = np.zeros((20, 30))
    data[2, 25] = 1
    write_lens_thumbnail(replace(pictures_of(analysis), data=data), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (30, 20)
        light = np.asarray(picture.convert("L"))
    assert np.unravel_index(light.argmax(), light.shape) == (17, 25)


def test_colour_bars_have_few_round_numbers():
    assert _round_numbers(3.2e8, 4.4e9) == [6e8, 1e9, 2e9]
    assert _round_numbers(0.11, 0.36) == [0.2, 0.3]
    assert [_power_of_ten(value) for value in (6e8, 0.2, 1000.0)] == [
        r"$6\times10^{8}$", "0.2", "1000",
    ]  # fmt: skip


def circles(axes):
    return [line for line in axes.lines if line.get_marker() == "o"]


def test_a_long_note_stays_within_the_figure(analysis):
    pictures = replace(
        pictures_of(analysis), note=("Circle: " + 20 * "a long explanation ").strip()
    )
    figure = draw_lens_figure(LIGHT, pictures)
    figure.canvas.draw()
    (note,) = figure.findobj(lambda part: getattr(part, "get_text", str)().startswith("Circle"))
    below = note.get_window_extent()
    assert 0 <= below.x0 < below.x1 <= figure.bbox.width


def test_the_figure_marks_the_perturber_wherever_it_lies(analysis):
    pictures = replace(pictures_of(analysis), perturber=(0.5, -0.3))
    (*rest,) = draw_lens_figure(LIGHT, pictures).axes[:6]
    names = [axes.get_title() for axes in rest]
    assert names == ["data", "smooth model", "residual", "source", "perturbation", "sensitivity"]
    for axes in rest:
        (mark,) = circles(axes) or [None]
        if axes.get_title() == "source":
            assert mark is None
        else:
            assert mark.get_xydata().tolist() == [[0.5, -0.3]]
            assert axes.get_xlim() == pictures.extent[:2]
            assert axes.get_ylim() == pictures.extent[2:]
        assert axes.get_xlabel() == "arcsec"
    far = draw_lens_figure(LIGHT, replace(pictures, perturber=(9.0, 3.0))).axes[:6]
    right = pictures.extent[1]
    for axes in far:
        assert not circles(axes)
        if axes.get_title() != "source":
            (arrow,) = axes.texts
            assert arrow.xy == pytest.approx((right, right / 3))


def test_the_note_says_why_the_circle_lies_outside_the_map(analysis):
    def note(x, y):
        values = analysis.joint.fitted.lens.values.clone()
        values[INDEX["perturber_x"]] = values[INDEX["light_x"]] + x
        values[INDEX["perturber_y"]] = values[INDEX["light_y"]] + y
        lens = replace(analysis.joint.fitted.lens, values=values)
        fitted = replace(analysis.joint.fitted, lens=lens)
        moved = replace(analysis, joint=replace(analysis.joint, fitted=fitted))
        return pictures_of(moved).note

    assert note(0.9, 0.3).endswith(" arcsec.")
    assert "x = +0.90, y = +0.30" in note(0.9, 0.3)
    assert "empty there" in note(0.0, 0.0)
    assert "outside the maps, which end at 1.9" in note(1.5, 1.4)
    assert "arrow" not in note(1.5, 1.4)
    assert note(5.0, 0.0).endswith("An arrow at the edge points to it.")


@pytest.mark.parametrize(("sky", "arrows"), [(TURNED, 2), (None, 0)])
def test_the_data_have_arrows_to_north_and_east(analysis, sky, arrows):
    texts = draw_lens_figure(LIGHT, pictures_of(on_sky(analysis, sky))).axes[0].texts
    assert [text.get_text() for text in texts] == ["N", "E"][:arrows]
    for text, direction in zip(texts, (sky and sky.north, sky and sky.east), strict=False):
        assert np.array(text.xyann) / ARROW_POINTS == pytest.approx(direction)


def test_the_row_knows_how_exactly_a_mass_would_be_measured(analysis):
    seen = analysis.map.information[analysis.map.visible]
    error = row_of(analysis, [], "digest").strength_error_arcsec2
    assert error == pytest.approx(float(seen.median()) ** -0.5)
    assert 0.45 < float((seen > error**-2).double().mean()) < 0.55
    blind = replace(analysis.map, visible=torch.zeros_like(analysis.map.visible))
    assert math.isnan(blind.typical_error())
