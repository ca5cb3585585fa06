"""``lumpylens fit``: exit statuses and what it says."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from lumpylens import cli
from lumpylens.lenses.catalogue import LensCatalogue, LensRow
from lumpylens.scale import fitting


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["lumpylens", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (done.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two lenses as FITS, the second without a PSF."""
    from astropy.io import fits

    random = np.random.default_rng(0)
    for name in ("one", "two"):
        (tmp_path / "lenses" / name).mkdir(parents=True)
        for kind, values in (
            ("image", random.random((15, 15))),
            ("noise", np.ones((15, 15))),
            ("psf", np.ones((3, 3))),
        ):
            if (name, kind) != ("two", "psf"):
                fits.writeto(tmp_path / "lenses" / name / f"{kind}.fits", values.astype("f4"))
    monkeypatch.setattr(
        fitting,
        "fit_lens",
        lambda cutout, lens, seed, outputs: LensRow(
            id=cutout.id, einstein_radius_arcsec=cutout.pixel_scale_arcsec, digest=lens.digest,
            quality="faint source", doubts="faint-source",
        ),
    )  # fmt: skip
    return tmp_path


def test_fit_writes_a_catalogue_and_says_what_failed(call, folder):
    out = folder / "fits.csv"
    status, said, _ = call(
        "fit", folder / "lenses", "--out", out, "--pixel-scale", "0.04", "--quiet"
    )
    assert status == 1
    assert said.splitlines() == [
        "LensCatalogue of 2 lenses: 1 fitted, 1 of them in doubt",
        "  1 failed; the first is two: no PSF; put psf.fits beside image.fits, or NAME_psf.fits",
        f"all rows are in {out}",
    ]
    header, first, second = out.read_text().splitlines()
    assert header.startswith("id,einstein_radius_arcsec,einstein_radius_err,ellipticity,")
    for name in ("shear", "slope", "chi2_per_pixel", "quality", "perturber_x_arcsec",
                 "perturber_y_arcsec", "perturber_einstein_radius_arcsec", "perturber_mass_msun",
                 "perturber_log_evidence", "perturber_p_value", "error"):  # fmt: skip
        assert name in header.split(",")
    assert first.startswith("one,0.04,")
    assert second.startswith("two,,")


def test_fit_says_where_templates_and_scripts_are(call, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "coolest", object())
    wanted = ("fit", folder / "lenses", "--out", folder / "fits.csv", "--quiet")
    _, said, _ = call(*wanted, "--script", "pyautolens")
    assert said.splitlines()[3:] == [f"scripts for pyautolens are in {folder / 'fits-scripts'}"]
    place = folder / "templates"
    _, said, _ = call(*wanted, "--script", "lenstronomy", "--coolest", place)
    assert said.splitlines()[3:] == [
        f"COOLEST templates are in {place}",
        f"scripts for lenstronomy are in {place}",
    ]
    _, said, _ = call(*wanted, "--script", "lenstronomy", "--coolest", place, "--json")
    output = json.loads(said)
    assert (output["coolest"], output["scripts"]) == (str(place), str(place))
    status, _, said = call(*wanted, "--script", "glafic")
    assert status == 2
    assert "no script for 'glafic'; choose one of lenstronomy, pyautolens" in said


def test_fit_says_where_page_and_products_are(call, folder):
    status, said, _ = call(
        "fit", folder / "lenses", "--out", folder / "fits.csv", "--quiet",
        "--report", folder / "page", "--products", folder / "products",
    )  # fmt: skip
    assert status == 1
    assert said.splitlines()[2:] == [
        f"all rows are in {folder / 'fits.csv'}",
        f"FITS and region files are in {folder / 'products'}",
        f"report: {folder / 'page' / 'report.html'}",
    ]
    assert "in doubt: faint source" in (folder / "page" / "report.html").read_text()
    status, said, _ = call(
        "fit", folder / "lenses", "--out", folder / "fits.csv", "--quiet", "--json",
        "--report", folder / "page",
    )  # fmt: skip
    assert json.loads(said)["report"] == str(folder / "page" / "report.html")


def test_fit_in_json(call, folder):
    status, said, _ = call(
        "fit", folder / "lenses", "--out", folder / "fits.csv", "--quiet", "--json"
    )
    found = json.loads(said)
    assert status == 1
    assert (found["lenses"], found["failed"]) == (2, 1)
    assert found["rows"][1]["einstein_radius_arcsec"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "0"), "at least one worker"),
        (("--shard", "0"), "a shard has at least one lens, got 0"),
        (("--cluster", "here"), "no cluster called 'here'"),
        (("--cluster", "local:2", "--workers", "2"), "a cluster has workers of its own"),
        (("--redshifts", "nowhere.csv"), "no table at nowhere.csv"),
        (("--prior", "slop=2,0.1"), "no prior 'slop'; choose one of slope, einstein_radius"),
        (("--prior", "shear=0.1", "--prior", "shear=0.2"), "the prior shear was given twice"),
        (("--pixel-scale", "-1"), "positive number"),
        (("--out", "fits.txt"), "fits.txt has the suffix .txt"),
    ],
)
def test_mistakes_are_one_line(call, folder, monkeypatch, arguments, said):
    monkeypatch.chdir(folder)
    status, _, err = call("fit", "lenses", "--quiet", *arguments)
    assert status == 2
    assert err.startswith("lumpylens: ")
    assert err.count("\n") == 1
    assert said in err


def test_other_priors_fit_a_lens_again(call, folder):
    wanted = ("fit", folder / "lenses" / "one", "--out", folder / "fits.csv", "--pixel-scale", "1")
    call(*wanted, "--quiet")
    (first,) = LensCatalogue.read(folder / "fits.csv")
    status, _, said = call(*wanted, "--prior", "slope=2,0.3")
    assert status == 0
    assert "with other pixels or settings; they are fitted again" in said
    (second,) = LensCatalogue.read(folder / "fits.csv")
    assert second.digest != first.digest
    _, _, said = call(*wanted, "--prior", "slope=2.0,0.30")
    assert "fitted again" not in said
    assert LensCatalogue.read(folder / "fits.csv")[0].digest == second.digest
