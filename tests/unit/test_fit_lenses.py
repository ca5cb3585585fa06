"""`fit`: rows for good and bad lenses, resuming, masses, p-values from other lenses."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lumpylens.data.images import LensImage, LensImages
from lumpylens.errors import DataError, DataWarning
from lumpylens.lenses import growing
from lumpylens.lenses import redshifts as redshifts_module
from lumpylens.lenses.catalogue import LensCatalogue, LensRow
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.inflation import REFERENCE_ERROR, excess, model_error, p_value, with_p_values
from lumpylens.lenses.pictures import figure_paths
from lumpylens.lenses.products import product_paths
from lumpylens.lenses.redshifts import Redshifts, read_redshifts, redshifts_by_lens
from lumpylens.lenses.remarks import WORDS, Note, Remark, codes, words
from lumpylens.lenses.significance import gumbel
from lumpylens.scale import fitting
from lumpylens.simulation import POPULATIONS
from lumpylens.simulation.lens import draw_lens
from lumpylens.verbs.fit import fit


def row(name: str, log_evidence: float = 5.0, **changes) -> LensRow:
    made = LensRow(
        id=name, einstein_radius_arcsec=1.2, quality="good", digest=f"{name}-digest",
        perturber_log_evidence=log_evidence, perturber_einstein_radius_arcsec=0.1,
        residual_scatter=1.0, noise_maximum=2.5, noise_maximum_scale=0.35,
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    pixels = random.normal(size=(4, 21, 21)).astype(np.float32)
    pixels[1, 3, 4] = np.nan
    return LensImages.from_arrays(
        pixels, ids=["a", "b", "c", "d"], noise=np.ones((21, 21)), psf=np.ones((3, 3))
    )


def draw(outputs, name):
    """Write what stands for figures and products."""
    folders = [outputs.figures, outputs.report and outputs.report / "images"]
    for folder in filter(None, folders):
        for path in figure_paths(name, folder):
            Image.new("RGBA", (40, 30)).save(path, dpi=(200, 200))
    if outputs.products is not None:
        for path in product_paths(name, outputs.products):
            path.touch()


@pytest.fixture
def fitted(monkeypatch):
    """Replace the fit itself; gives the ids that were really fitted, in order."""
    done: list[str] = []

    def stub(cutout, lens, seed, outputs):
        done.append(cutout.id)
        if cutout.id == "c":
            raise ValueError("no minimum\nhere")
        draw(outputs, cutout.id)
        return row(cutout.id, digest=lens.digest, quality=words(cutout.notes))

    monkeypatch.setattr(fitting, "fit_lens", stub)
    return done


def test_every_lens_gets_a_row_and_a_bad_one_a_reason(images, fitted, tmp_path):
    rows = fit(images, out=tmp_path / "fits.csv", progress=False)
    assert [one.id for one in rows] == ["a", "b", "c", "d"]
    assert [one.error for one in rows] == ["", "", "the fit broke down: no minimum here", ""]
    assert rows[0].quality == "pixel scale assumed to be 0.05 arcsec"
    assert "1 pixels are not numbers and are masked" in rows[1].quality
    assert math.isnan(rows[2].einstein_radius_arcsec)
    assert [repr(one) for one in LensCatalogue.read(tmp_path / "fits.csv")] == [
        repr(one) for one in rows
    ]


def test_a_second_run_fits_only_what_is_missing_or_changed(images, fitted, tmp_path):
    out = tmp_path / "fits.csv"
    fit(images[:2], out=out, progress=False)
    assert fitted == ["a", "b"]
    fit(images, out=out, progress=False)
    assert fitted == ["a", "b", "c", "d"]
    fit(images, out=out, progress=False)
    assert fitted == ["a", "b", "c", "d", "c"], "a lens that failed is tried again"
    with pytest.warns(DataWarning, match=r"has 3 ids \(a, b, d\) with other pixels or settings"):
        fit(images, out=out, seed=1, progress=False)
    assert fitted[-4:] == ["a", "b", "c", "d"]


def test_a_pixel_scale_that_is_given_is_no_longer_assumed(fitted, tmp_path):
    """Although the number is the same."""
    known = {"noise": np.ones((9, 9)), "psf": np.ones((3, 3))}
    pixels, out = np.random.default_rng(0).random((1, 9, 9)), tmp_path / "fits.csv"
    (row,) = fit(LensImages.from_arrays(pixels, **known), out=out, progress=False)
    assert row.quality == "pixel scale assumed to be 0.05 arcsec"
    with pytest.warns(DataWarning, match="other pixels or settings"):
        (row,) = fit(
            LensImages.from_arrays(pixels, pixel_scale_arcsec=0.05, **known),
            out=out, progress=False,
        )  # fmt: skip
    assert row.quality == "good"


@pytest.mark.filterwarnings("ignore::lumpylens.errors.DataWarning")
def test_an_interrupted_run_loses_no_row(images, fitted, tmp_path, monkeypatch):
    """Neither those it made, nor those that the table had of lenses it did not come to."""
    out = tmp_path / "fits.csv"
    fit(images, out=out, progress=False)
    stub = fitting.fit_lens

    def interrupted(cutout, lens, seed, outputs):
        if cutout.id == "b":
            raise KeyboardInterrupt
        return replace(stub(cutout, lens, seed, outputs), slope=2.2)

    monkeypatch.setattr(fitting, "fit_lens", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(images, out=out, seed=1, progress=False)
    kept = LensCatalogue.read(out)
    assert [one.id for one in kept] == ["a", "b", "c", "d"]
    assert kept[0].slope == 2.2
    assert math.isnan(kept[1].slope)
    monkeypatch.setattr(fitting, "fit_lens", stub)
    fitted.clear()
    fit(images, out=out, seed=1, progress=False)
    assert fitted == ["b", "c", "d"], "it goes on where it was stopped"


def test_rows_of_another_data_set_stay_in_the_table(images, fitted, tmp_path):
    out = tmp_path / "fits.csv"
    fit(images[:2], out=out, progress=False)
    with pytest.warns(DataWarning, match=r"has 2 ids \(a, b\) that are not among these images"):
        rows = fit(images[3:], out=out, progress=False)
    assert [one.id for one in rows] == ["d"]
    assert [one.id for one in LensCatalogue.read(out)] == ["d", "a", "b"]
    assert fitted == ["a", "b", "d"]


def test_a_figure_that_is_missing_is_drawn(images, fitted, tmp_path):
    out, figures = tmp_path / "fits.csv", tmp_path / "figures"
    fit(images[:2], out=out, progress=False)
    fit(images[:2], out=out, figures=figures, progress=False)
    assert fitted == ["a", "b", "a", "b"]
    fit(images[:2], out=out, figures=figures, progress=False)
    assert len(fitted) == 4, "a figure that is there is not drawn again"
    (figures / "b-dark.png").unlink()
    fit(images[:2], out=out, figures=figures, progress=False)
    assert fitted[4:] == ["b"]


@pytest.fixture
def written(monkeypatch):
    """Replace the writing of the table; gives how many rows of the run each had."""
    counts: list[int] = []
    monkeypatch.setattr(
        growing.GrowingCatalogue, "save", lambda table: counts.append(len(table.all_rows()))
    )
    return counts


# The clock moves with each look, so that a write seems to take as long. Half a minute must pass,
# and twenty times what a write takes.
@pytest.mark.parametrize(("seconds", "after"), [(1.0, [1, 31, 40]), (2.0, [1, 21, 40])])
def test_the_table_is_written_now_and_then(seconds, after, written, fitted, tmp_path, monkeypatch):
    """Not after every lens, which takes the square of their number."""
    clock = SimpleNamespace(monotonic=itertools.count(step=seconds).__next__)
    monkeypatch.setattr(growing, "time", clock)
    many = LensImages.from_arrays(
        np.random.default_rng(0).random((40, 9, 9)), noise=np.ones((9, 9)), psf=np.ones((3, 3))
    )
    fit(many, out=tmp_path / "fits.csv", progress=False)
    assert written == after


def test_what_cannot_be_fitted_is_not_written_for_long(written, fitted, tmp_path):
    noise = np.zeros((40, 9, 9))
    noise[7] = 1
    mixed = LensImages.from_arrays(
        np.random.default_rng(0).random((40, 9, 9)), noise=noise, psf=np.ones((3, 3))
    )
    rows = fit(mixed, out=tmp_path / "fits.csv", progress=False)
    assert fitted == ["7"]
    assert sum(not one.error for one in rows) == 1
    assert len(written) <= 2


def test_no_lens_at_all_is_one_line(tmp_path):
    pixels = np.random.default_rng(0).random((3, 9, 9))
    out = tmp_path / "fits.csv"
    for known, said in (
        ({}, "none of the 3 images of memory has a noise map and a PSF; put noise.fits and"),
        ({"noise": np.ones((9, 9))}, "none of the 3 images of memory has a noise map and a PSF"),
        (
            {"noise": np.zeros((9, 9)), "psf": np.ones((3, 3))},
            "none of the 3 images of memory can be fitted; the first is 0: more than half",
        ),
    ):
        with pytest.raises(DataError, match=said):
            fit(LensImages.from_arrays(pixels, **known), out=out, progress=False)
    with pytest.raises(DataError, match="^0 cannot be fitted: no noise map"):
        fit(LensImages.from_arrays(pixels[:1]), out=out, progress=False)
    with pytest.raises(DataError, match="no images"):
        fit(LensImages.from_arrays(pixels)[:0], out=out, progress=False)
    assert not out.exists()


def test_what_a_lens_lacks_is_said():
    pixels = np.random.default_rng(0).random((1, 9, 9))
    for known, said in (
        ({"psf": np.ones((3, 3))}, "no noise map"),
        ({"noise": np.ones((9, 9))}, "no PSF"),
        ({"noise": np.ones((9, 9)), "psf": np.ones((4, 4))}, "both numbers must be odd"),
        ({"noise": np.zeros((9, 9)), "psf": np.ones((3, 3))}, "noise map"),
        ({"noise": np.ones((9, 9)), "psf": np.ones((3, 3)), "stretched": True}, "8-bit"),
    ):
        with pytest.raises(DataError, match=said):
            cutout_of(LensImages.from_arrays(pixels, **known)[0])
    with pytest.raises(DataError, match="every pixel is 7"):
        cutout_of(
            LensImages.from_arrays(
                np.full((1, 9, 9), 7.0), noise=np.full((9, 9), 1.0), psf=np.ones((3, 3))
            )[0]
        )


def test_a_noise_map_of_another_shape_is_named():
    image = np.eye(9)
    image[0, 1] = np.nan
    item = LensImage.checked("a", image, noise=np.ones((9, 7)), psf=np.ones((3, 3)))
    with pytest.raises(DataError, match=r"noise map has shape \(9, 7\), the image \(9, 9\)$"):
        cutout_of(item)


def test_pixels_that_are_no_numbers_do_not_hide_that_the_psf_is_missing():
    image = np.eye(9)
    image[0, 0] = np.nan
    with pytest.raises(DataError, match="no PSF"):
        cutout_of(LensImage.checked("a", image, noise=np.ones((9, 9))))


@pytest.mark.parametrize("mark", [0.0, -1.0, math.nan, math.inf, 1e8, 1e30])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 3e4, 1e12, 1e20])
def test_masked_pixels_are_those_that_any_unit_and_any_mark_mask(mark, unit):
    random = np.random.default_rng(0)
    image, noise = random.normal(size=(9, 9)), random.uniform(0.5, 10, (9, 9))
    masked = random.random((9, 9)) < 0.2
    # A mark is written into the file as it is, whatever the unit of the pixels.
    noise = np.where(masked, max(mark, mark * unit) if mark < 1e20 else mark, noise * unit)
    cutout = cutout_of(
        LensImage.checked(
            "a", image * unit, noise=noise, psf=np.ones((3, 3)), pixel_scale_arcsec=0.05
        )
    )
    assert (cutout.usable == ~masked).all()
    assert np.median(cutout.noise[cutout.usable]) / cutout.unit == pytest.approx(1)


def test_another_table_is_not_overwritten(images, fitted, tmp_path):
    (tmp_path / "fits.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no catalogue of lenses"):
        fit(images, out=tmp_path / "fits.csv", progress=False)
    assert (tmp_path / "fits.csv").read_text() == "a,b\n1,2\n"


def test_a_halo_is_fitted_once_its_redshifts_are_known(images, tmp_path, monkeypatch):
    """Its size depends on them; but only lenses whose profiles were compared are fitted again."""
    done = []

    def stub(cutout, lens, seed, outputs):
        done.append(cutout.id)
        profile = "point" if cutout.id == "a" else ""
        tried = str(lens.redshifts) if profile and lens.redshifts else ""
        return row(
            cutout.id, digest=lens.digest, perturber_profile=profile, nfw_redshifts=tried,
            pseudo_jaffe_strength_arcsec2=0.01, pseudo_jaffe_strength_error_arcsec2=0.002,
            companion_einstein_radius_arcsec=0.2,
        )  # fmt: skip

    monkeypatch.setattr(fitting, "fit_lens", stub)
    table, out = tmp_path / "z.csv", tmp_path / "fits.csv"
    fit(images, out=out, progress=False)
    done.clear()
    table.write_text("id,lens_redshift,source_redshift\na,0.2,0.6\nb,0.2,0.6\n")
    rows = fit(images, out=out, redshifts=table, progress=False)
    assert done == ["a"]
    unit = Redshifts(0.2, 0.6).mass(1.0)
    assert rows[0].pseudo_jaffe_mass_msun == pytest.approx(0.01 * unit)
    assert rows[0].pseudo_jaffe_mass_error_msun == pytest.approx(0.002 * unit)
    assert rows[1].companion_mass_msun == pytest.approx(0.04 * unit)
    done.clear()
    fit(images, out=out, redshifts=table, progress=False)
    assert done == []
    table.write_text("id,lens_redshift,source_redshift\na,0.3,0.6\n")
    fit(images, out=out, redshifts=table, progress=False)
    assert done == ["a"]


def test_masses_follow_redshifts(images, fitted, tmp_path):
    table, out = tmp_path / "z.csv", tmp_path / "fits.csv"
    table.write_text("id,lens_redshift,source_redshift\na,0.2,0.6\nb,,\n")
    rows = fit(images, out=out, redshifts=table, progress=False)
    # An Einstein radius of 1.2 arcsec at these redshifts is a galaxy of about 2e11 solar masses.
    assert Redshifts(0.2, 0.6).mass(1.2) == pytest.approx(2.0e11, rel=0.15)
    assert rows[0].perturber_mass_msun == pytest.approx(Redshifts(0.2, 0.6).mass(0.1))
    assert all(math.isnan(one.perturber_mass_msun) for one in rows[1:])
    assert rows[0].msun_per_square_arcsec == pytest.approx(Redshifts(0.2, 0.6).mass(1.0))
    again = fit(images, out=out, progress=False)
    assert again[0].perturber_mass_msun == rows[0].perturber_mass_msun, "a known mass is kept"
    table.write_text("id,lens_redshift,source_redshift\na,0.6,0.2\n")
    with pytest.raises(DataError, match="source behind it"):
        read_redshifts(table)
    table.write_text("id,z\na,0.6\n")
    with pytest.raises(DataError, match="no column lens_redshift"):
        read_redshifts(table)
    table.write_text("id,lens_redshift,source_redshift\na,0.2,0.6\na,0.2,0.7\n")
    with pytest.raises(DataError, match="several rows for a"):
        read_redshifts(table)


def test_what_is_simulated_and_fitted_has_one_mass():
    """And it is that of astropy's flat universe, in textbook units."""
    from astropy import constants, units
    from astropy.cosmology import FlatLambdaCDM

    preset = POPULATIONS["hst"]
    lens = draw_lens(preset, np.random.default_rng(0))
    near, far = lens.lens_redshift, lens.source_redshift
    mass = Redshifts(near, far).mass(2.0)
    assert mass == pytest.approx(4 * lens.scale.msun_per_px2 / preset.pixel_scale_arcsec**2)
    universe = FlatLambdaCDM(H0=70, Om0=0.3)
    d_l, d_s = (universe.angular_diameter_distance(z) for z in (near, far))
    d_ls = d_s - d_l * (1 + near) / (1 + far)
    angle = (2.0 * units.arcsec).to_value(units.rad)
    expected = angle**2 * constants.c**2 / (4 * constants.G) * d_l * d_s / d_ls
    assert mass == pytest.approx(expected.to_value(units.Msun), rel=1e-9)


def test_redshifts_find_their_lens_where_that_is_clear():
    z = Redshifts(0.2, 0.6)
    ids = ["hst-3-0.fits", "x/hst-4.fits.gz", "y/one.fits", "z/one.fits", "two", "two.fits"]
    matched, left = redshifts_by_lens(
        dict.fromkeys(["hst-3-0", "hst-4", "one", "two", "three"], z), ids
    )
    assert matched == {"hst-3-0.fits": z, "x/hst-4.fits.gz": z, "two": z}
    assert left == ["one", "three"]
    matched, left = redshifts_by_lens(dict.fromkeys(["a/one", "b/one"], z), ["one.fits"])
    assert (matched, left) == ({}, ["a/one", "b/one"])


def test_redshifts_of_many_lenses_take_no_square_of_their_number(monkeypatch):
    calls = []
    bare = redshifts_module._bare
    monkeypatch.setattr(redshifts_module, "_bare", lambda name: calls.append(name) or bare(name))
    names = [f"lens-{k}" for k in range(100)]
    matched, left = redshifts_by_lens(
        dict.fromkeys(names, Redshifts(0.2, 0.6)), [f"{name}.fits" for name in names]
    )
    assert (len(matched), left) == (100, [])
    assert len(calls) <= 5 * len(names)


def test_redshifts_of_no_lens_are_said_before_the_work(images, fitted, tmp_path):
    table = tmp_path / "z.csv"
    table.write_text("id,lens_redshift,source_redshift\na.fits,0.2,0.6\ne,0.2,0.6\n")
    with pytest.warns(DataWarning, match=r"1 id \(e\) .* no lens, .*; ids are such as a"):
        rows = fit(images, redshifts=table, progress=False)
    assert rows[0].perturber_mass_msun > 0


def test_catalogue_survives_every_format(tmp_path):
    rows = [row("a"), LensRow(id="b", error="no PSF")]
    for name in ("fits.csv", "fits.ecsv"):
        LensCatalogue(tuple(rows)).write(tmp_path / name)
        assert [repr(one) for one in LensCatalogue.read(tmp_path / name)] == [
            repr(one) for one in rows
        ]


def test_remarks_are_words_for_people_and_codes_for_programs():
    notes = [Note(Remark.ASSUMED_SCALE, (0.05,)), Note(Remark.POOR_FIT, (1.2, 0.4))]
    assert words(notes) == (
        "pixel scale assumed to be 0.05 arcsec; "
        "poor fit on the arcs: chi2 per pixel 1.20, 0.40 elsewhere"
    )
    assert codes(notes) == "assumed-scale poor-fit"
    assert (words([]), codes([])) == ("good", "")
    assert set(WORDS) == set(Remark)
    harmless = {remark for remark in Remark if not remark.is_doubt}
    assert harmless == {Remark.NOT_NUMBERS, Remark.NO_LENS_LIGHT}


def test_trust_is_read_back_without_reading_english(tmp_path):
    rows = [
        row("a", quality="bon"),
        row("b", quality="good", doubts="poor-fit large-shear"),
        row("c", error="no PSF"),
    ]
    assert [one.trusted for one in rows] == [True, False, False]
    LensCatalogue(tuple(rows)).write(tmp_path / "fits.csv")
    assert [one.trusted for one in LensCatalogue.read(tmp_path / "fits.csv")] == [
        True,
        False,
        False,
    ]


def test_p_value_is_that_of_the_largest_of_many_draws():
    random = np.random.default_rng(0)
    maxima = torch.from_numpy(random.normal(size=(4000, 30)).max(axis=1))
    law = gumbel(maxima[:1000])
    for level in (2.0, 2.5, 3.0):
        counted = float((maxima > level).double().mean())
        assert p_value(level, law) == pytest.approx(counted, abs=0.06)


def test_model_error_is_learned_from_the_other_lenses():
    quiet = [row(f"l{k}", log_evidence=0.5 * (2 * 2.63) ** 2) for k in range(10)]
    loud = row("loud", log_evidence=200.0)
    made = with_p_values([*quiet, loud])
    # Half of all lenses without a perturber are as significant as this, once inflation is out.
    assert made[0].perturber_p_value == pytest.approx(0.5, abs=0.02)
    assert made[-1].inflation == pytest.approx(2.0, rel=0.01)
    assert made[-1].perturber_p_value < 1e-4
    assert model_error(quiet[:3]) == REFERENCE_ERROR
    doubtful = [replace(one, doubts="faint-source", perturber_log_evidence=500.0) for one in quiet]
    assert model_error([*quiet, *doubtful]) == model_error(quiet)
    assert with_p_values([LensRow(id="x", error="no PSF")])[0].error == "no PSF"


def test_no_lens_is_part_of_its_own_model_error():
    random = np.random.default_rng(0)
    rows = [row(f"l{k}", float(e)) for k, e in enumerate(random.uniform(5, 80, 12))]
    rows += [row("doubtful", 300.0, doubts="poor-fit"), row("blind", noise_maximum=0.0,
             noise_maximum_scale=0.0), LensRow(id="failed", error="no PSF")]  # fmt: skip
    for one, made in zip(rows, with_p_values(rows), strict=True):
        others = [other for other in rows if other is not one]
        if one.error:
            assert math.isnan(made.inflation)
        else:
            assert made.inflation == pytest.approx(model_error(others))
    shared = [excess(one) for one in rows if one.trusted and one.noise_maximum_scale > 0]
    assert model_error(rows) == pytest.approx(np.quantile(shared, 0.68))


def test_a_noise_map_that_is_wrong_is_divided_out():
    """The scatter of a lens's own residuals is part of its inflation, and of what others learn."""
    rows = [row(f"l{k}", 30.0) for k in range(9)]
    noisy = row("noisy", 30.0, residual_scatter=1.5)
    made = with_p_values([*rows, noisy])
    assert made[-1].inflation == pytest.approx(1.5 * made[0].inflation)
    assert made[-1].perturber_p_value > made[0].perturber_p_value
    assert excess(noisy) == pytest.approx(excess(rows[0]) / 1.5)


def test_a_fit_in_doubt_has_no_p_value():
    made = with_p_values([row("a", 60.0), row("b", 60.0, doubts="poor-fit")])
    assert 0 < made[0].perturber_p_value < 0.05
    assert math.isnan(made[1].perturber_p_value)
    assert made[1].inflation == made[0].inflation


def test_a_catalogue_has_rows_columns_and_a_summary():
    rows = (
        row("a"),
        replace(row("b"), perturber_p_value=0.004),
        LensRow(id="c", error="no PSF"),
        replace(row("d"), doubts="poor-fit"),
    )
    lenses = LensCatalogue(rows)
    assert lenses[1] is rows[1]
    assert lenses["id"] == ["a", "b", "c", "d"]
    assert [one.id for one in lenses[2:]] == ["c", "d"]
    assert [one.id for one in lenses.failed] == ["c"]
    assert [one.id for one in lenses.doubtful] == ["d"]
    assert lenses.most_significant is rows[1]
    assert LensCatalogue(rows[2:3]).most_significant is None
    assert repr(lenses).splitlines() == [
        "LensCatalogue of 4 lenses: 3 fitted, 1 of them in doubt",
        "  1 failed; the first is c: no PSF",
        "  most significant perturber: b, p = 0.004",
    ]
    assert lenses._repr_html_().count("<tr>") == 5
    assert list(lenses.to_pandas()) == list(lenses.columns()) == list(lenses.to_table().columns)
