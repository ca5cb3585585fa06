"""Simulated images in files: formats, tables of truth, and runs that go on."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.simulation import POPULATIONS, output, simulate, simulate_with_truth
from lumpylens.simulation.perturbers import mass_inside
from lumpylens.simulation.recipe import Recipe


def pixels(images):
    return images.stack().pixels


@pytest.mark.parametrize("preset", ["slc", "lsst"])
@pytest.mark.parametrize("name", ["lenses.h5", "lenses.npz", "lenses.npy"])
def test_a_file_holds_what_was_made(tmp_path, preset, name):
    kept = simulate(preset, 3, seed=4, substructure="points", out=tmp_path / name)
    made = simulate(preset, 3, seed=4, substructure="points")
    np.testing.assert_array_equal(pixels(kept), pixels(made))
    assert kept[0].stretched == made[0].stretched
    if name.endswith("npy"):
        return
    assert kept.ids == made.ids
    assert kept.labels.tolist() == [1, 1, 1]
    for one, other in zip(kept, made, strict=True):
        assert one.pixel_scale_arcsec == other.pixel_scale_arcsec
        for plane in ("noise", "psf", "jpeg_table"):
            mine, theirs = getattr(one, plane), getattr(other, plane)
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("substructure", [None, "points"])
def test_a_file_of_the_roman_challenge_is_read_again(tmp_path, substructure):
    population = replace(POPULATIONS["euclid"], band="F129")
    wanted = {"seed": 4, "substructure": substructure, "indices": [7, 3]}
    place = tmp_path / "rung_1.h5"
    simulate(population, out=place, format="roman", **wanted)
    kept = LensImages.open(place, band="F129")
    made = simulate(population, **wanted)
    assert kept.ids == ["strong_lens_00000003", "strong_lens_00000007"]
    np.testing.assert_array_equal(pixels(kept), pixels(made)[::-1])
    for item, other in zip(kept, reversed(list(made)), strict=True):
        assert (item.label, item.pixel_scale_arcsec) == (other.label, other.pixel_scale_arcsec)
        np.testing.assert_allclose(item.psf, other.psf, rtol=1e-6)
        assert item.noise is None
        assert item.remarks == ()
    table = Table.read(tmp_path / "rung_1.truth.ecsv")
    assert sorted(table["id"]) == kept.ids
    radius = dict(zip(table["id"], table["einstein_radius_px"], strict=True))
    with h5py.File(place) as file:
        system = file["images/strong_lens_00000007"]
        assert system.attrs["substructure"][0] == str(substructure is not None)
        assert float(system.attrs["theta_e"][0]) == 0.1 * radius["strong_lens_00000007"]
        exposure = system["exposure_00000007_F129"]
        assert exposure.attrs["exposure_time"][0] == "2264.0"
        assert exposure.attrs["units"][0] == "electron/s"


def test_the_preset_roman_is_like_the_challenge(tmp_path):
    kept = simulate("roman", 2, substructure="cdm", out=tmp_path / "a.h5", format="roman")
    assert [item.image.shape for item in kept] == [(91, 91)] * 2
    assert {item.pixel_scale_arcsec for item in kept} == {0.11}
    assert (kept[0].origins["band"], kept.labels.tolist()) == ("F129", [1, 1])
    cdm = POPULATIONS["roman"].substructures["cdm"]
    lens = Recipe(POPULATIONS["roman"], cdm, 0).lens(0)
    radius = lens.einstein_radius_px
    total = lens.halo_einstein_radius_px * radius + mass_inside(lens.perturbers, radius)
    assert total == pytest.approx(radius**2)
    recipe = Recipe(POPULATIONS["roman"], replace(cdm, compensated=False), 0)
    fractions, masses = [], []
    for lens in map(recipe.lens, range(300)):
        inside = [
            halo.einstein_radius_px**2
            for halo in lens.perturbers
            if np.hypot(halo.x_px, halo.y_px) < lens.einstein_radius_px
        ]
        fractions.append(sum(inside) / lens.einstein_radius_px**2)
        masses += [h.einstein_radius_px**2 * lens.scale.msun_per_px2 for h in lens.perturbers]
    assert np.mean(fractions) == pytest.approx(0.04, rel=0.1)
    # Of a power law of slope -1.9, a tenth as many lie above ten times its lower end.
    assert np.mean(np.array(masses) > 1e8) == pytest.approx(10**-0.9, rel=0.03)
    assert 1e7 <= min(masses) < max(masses) <= 1e10 * (1 + 1e-6)


def test_the_roman_layout_leaves_out_what_differs_and_refuses_pictures(tmp_path):
    blurred = replace(POPULATIONS["euclid"], psf_sigma_px=(0.6, 0.9))
    kept = simulate(blurred, 2, out=tmp_path / "a.h5", format="roman")
    assert [item.psf for item in kept] == [None, None]
    assert kept[0].origins["band"] == "euclid"
    with pytest.raises(DataError, match="slc makes pictures, and the format roman holds"):
        simulate("slc", 1, out=tmp_path / "b.h5", format="roman")
    with pytest.raises(DataError, match=r"a file of format roman ends in \.h5 or \.hdf5, not"):
        simulate("euclid", 1, out=tmp_path / "b.npz", format="roman")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "a.truth.ecsv"]


def test_fits_files_hold_noise_psf_and_header(tmp_path):
    kept = simulate("lsst", 2, substructure="string", out=tmp_path / "f", format="fits")
    made = simulate("lsst", 2, substructure="string")
    np.testing.assert_array_equal(pixels(kept), pixels(made))
    np.testing.assert_array_equal(kept[1].noise, made[1].noise)
    np.testing.assert_allclose(kept[1].psf, made[1].psf, rtol=1e-6)
    assert kept[1].pixel_scale_arcsec == 0.2
    assert kept.labels.tolist() == [1, 1]
    header = fits.getheader(tmp_path / "f" / "sub" / "lsst-0-1.fits")
    assert (header["PRESET"], header["SEED"], header["INDEX"]) == ("lsst", 0, 1)
    assert header["SUBSTRUC"]
    assert header["EXPTIME"] == 6900


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_pictures_of_the_challenge_are_the_same_pictures(tmp_path, format):
    smooth = simulate("slc", 2, out=tmp_path, format=format)
    assert not simulate("slc", 2, out=tmp_path, format=format, substructure="one")[0].error
    made = simulate("slc", 2)
    np.testing.assert_array_equal(pixels(smooth), pixels(made))
    both = LensImages.open(tmp_path)
    assert both.labels.tolist() == [0, 0, 1, 1]
    if format == "jpeg":
        assert smooth[0].file_bytes == made[0].file_bytes
        assert (smooth[0].jpeg_table == made[0].jpeg_table).all()
    with pytest.raises(DataError, match="holds files already"):
        simulate("slc", 2, out=tmp_path, format=format)


def test_linear_images_as_pictures_are_stretched(tmp_path):
    images = simulate("euclid", 1, out=tmp_path, format="png")
    assert images[0].stretched
    assert (images[0].image.min(), images[0].image.max()) == (0, 255)


def test_the_table_of_truth_lies_beside(tmp_path):
    simulate("lsst", 3, seed=2, substructure="haloes", out=tmp_path / "l.h5")
    table = Table.read(tmp_path / "l.truth.ecsv")
    made = simulate_with_truth("lsst", 3, seed=2, substructure="haloes")
    assert list(table["id"]) == made.images.ids
    assert set(table["perturber_profile"]) == {"halo"}
    for name in made.table().colnames:
        assert name in table.colnames
    sizes = np.asarray(table["perturber_einstein_radius_px"])
    for row, lens in zip(sizes, made.lenses, strict=True):
        np.testing.assert_allclose(
            row[row > 0], [one.einstein_radius_px for one in lens.perturbers]
        )
        assert lens.lens_redshift < lens.source_redshift
    assert np.isfinite(table["msun_per_px2"]).all()


def test_any_image_alone_is_the_same(tmp_path):
    alone = simulate("lsst", indices=[7, 3], out=tmp_path / "two.h5")
    together = simulate("lsst", 8)
    assert alone.ids == ["lsst-0-7", "lsst-0-3"]
    np.testing.assert_array_equal(pixels(alone), pixels(together)[[7, 3]])


def test_a_stopped_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "IMAGES_PER_PART", 2)
    exposures = Recipe.exposures
    made = []

    def until_four(self, indices):
        for each in exposures(self, indices):
            if len(made) == 4:
                raise KeyboardInterrupt
            made.append(each[0])
            yield each

    monkeypatch.setattr(Recipe, "exposures", until_four)
    with pytest.raises(KeyboardInterrupt):
        simulate("lsst", 7, out=tmp_path / "l.h5")
    assert not (tmp_path / "l.h5").exists()
    # Other images would be mixed with these.
    with pytest.raises(DataError, match="stopped run of other images"):
        simulate("lsst", 7, seed=1, out=tmp_path / "l.h5")
    again = []

    def counted(self, indices):
        for each in exposures(self, indices):
            again.append(each[0])
            yield each

    monkeypatch.setattr(Recipe, "exposures", counted)
    kept = simulate("lsst", 7, out=tmp_path / "l.h5")
    assert again == [4, 5, 6]
    np.testing.assert_array_equal(pixels(kept), pixels(simulate("lsst", 7)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l.h5", "l.truth.ecsv"]


@pytest.mark.slow
def test_two_processes_make_what_one_makes(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "IMAGES_PER_PART", 2)
    kept = simulate("lsst", 5, out=tmp_path / "l.h5", workers=2)
    np.testing.assert_array_equal(pixels(kept), pixels(simulate("lsst", 5)))


def test_galaxies_of_ones_own_are_sources(tmp_path):
    y, x = np.mgrid[:61, :61] - 30.0
    random = np.random.default_rng(0)
    pictures = np.exp(-np.hypot(x, 2 * y)[None] / [[[3.0]], [[5.0]]])
    np.save(tmp_path / "g.npy", 7 + pictures + 0.001 * random.standard_normal(pictures.shape))
    preset = POPULATIONS["euclid"]
    made = simulate_with_truth(preset, 6, sources=tmp_path / "g.npy")
    assert {lens.source_image for lens in made.lenses} == {0, 1}
    table = made.table()
    assert set(table["source_image"]) == {"g.npy[0]", "g.npy[1]"}
    # Only the source is another one.
    plain = simulate_with_truth(preset, 6)
    assert [a.einstein_radius_px for a in made.lenses] == [
        b.einstein_radius_px for b in plain.lenses
    ]
    assert not np.array_equal(pixels(made.images), pixels(plain.images))
    np.save(tmp_path / "flat.npy", np.ones((1, 30, 30)) + 1e-3 * x[:30, :30])
    with pytest.raises(DataError, match="no light above its border"):
        simulate(preset, 1, sources=tmp_path / "flat.npy")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "x.fits"}, "says no format"),
        ({"out": "x.h5", "format": "npz"}, "ends in .npz"),
        ({"out": "x", "format": "tiff"}, "format is one of"),
        ({"out": "folder", "format": "hdf5"}, "ends in .h5"),
        ({"out": "file.txt", "format": "fits"}, "is a file"),
        ({"format": "fits"}, "needs a place"),
        ({"workers": 0}, "at least one worker"),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=words):
        simulate("lsst", 1, **options)


def test_a_preset_of_ones_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "size_px = 40\npixel_scale_arcsec = 0.1\neinstein_radius_arcsec = 0.8\n"
        "shear = { median = 0.05, spread = 0.3, high = 0.2 }\n"
        "[substructure.heavy]\ncount = 1\nmass_fraction = 0.1\nat_arcsec = [0.5, 0.0]\n"
    )
    made = simulate_with_truth(str(path), 1, substructure="heavy-compensated")
    lens = made.lenses[0]
    assert made.images.ids == ["mine-0-0"]
    assert lens.einstein_radius_px == 8
    assert lens.perturbers[0].x_px == 5
    assert lens.halo_einstein_radius_px == pytest.approx(8 * 0.9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("size = 3", "did you mean size_px"),
        ("shear = 'big'", "shear is a number"),
        ("shear = {mean = 1}", "shear is a number"),
        ("einstein_radius_arcsec = 1.0", "needs a pixel_scale_arcsec"),
        ("size_px = ", "not valid TOML"),
        ("[instrument]\nfwhm_arcsec = 1", "holds exposure_s"),
        ("[substructure.x]\ncounts = 3", "did you mean count"),
        ("velocity_dispersion_kms = 200.0", "needs redshifts"),
        ("source_magnitude = 20.0", "need a zero_point"),
        ("shear = {slope = -1.0, low = 0.0, high = 1.0}", "nothing can be drawn"),
    ],
)
def test_mistakes_in_a_preset_are_named(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        simulate(str(path), 1)
    with pytest.raises(DataError, match="cannot read"):
        simulate(str(tmp_path / "none.toml"), 1)


def test_no_half_result_is_taken_for_a_run(tmp_path):
    (tmp_path / ".l.h5.no_sub.parts").mkdir()
    (tmp_path / ".l.h5.no_sub.parts" / "run.json").write_text(json.dumps({"run": "x"}))
    with pytest.raises(DataError, match="remove the folder"):
        simulate("lsst", 1, out=tmp_path / "l.h5")
