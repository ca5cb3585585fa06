"""`fit`: rows for good and bad lenses, resuming, masses, p-values from other lenses."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.fit import cutout_of, fit
from lumpylens.lenses.catalogue import LensRow, Redshifts, read_redshifts, read_rows, write_rows
from lumpylens.lenses.inflation import REFERENCE, model_error, p_value, with_p_values
from lumpylens.lenses.significance import gumbel

FIT = importlib.import_module("lumpylens.fit")


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


@pytest.fixture
def fitted(monkeypatch):
    """Replace the fit itself; gives the ids that were really fitted, in order."""
    done: list[str] = []

    def stub(job, cutout, digest):
        done.append(cutout.id)
        if cutout.id == "c":
            raise ValueError("no minimum\nhere")
        return row(cutout.id, digest=digest, quality="; ".join(cutout.remarks))

    monkeypatch.setattr(FIT, "_fitted", stub)
    return done


def test_every_lens_gets_a_row_and_a_bad_one_a_reason(images, fitted, tmp_path):
    rows = fit(images, out=tmp_path / "fits.csv", progress=False)
    assert [one.id for one in rows] == ["a", "b", "c", "d"]
    assert [one.error for one in rows] == ["", "", "the fit broke down: no minimum here", ""]
    assert rows[0].quality == "pixel scale assumed to be 0.05 arcsec"
    assert "1 pixels are not numbers and are masked" in rows[1].quality
    assert math.isnan(rows[2].einstein_radius_arcsec)
    assert [repr(one) for one in read_rows(tmp_path / "fits.csv")] == [repr(one) for one in rows]


def test_a_second_run_fits_only_what_is_missing_or_changed(images, fitted, tmp_path):
    out = tmp_path / "fits.csv"
    fit(images[:2], out=out, progress=False)
    assert fitted == ["a", "b"]
    fit(images, out=out, progress=False)
    assert fitted == ["a", "b", "c", "d"]
    fit(images, out=out, progress=False)
    assert fitted == ["a", "b", "c", "d", "c"], "a lens that failed is tried again"
    fit(images[:1], out=out, seed=1, progress=False)
    assert fitted[-1] == "a"


def test_an_interrupted_run_keeps_what_it_finished(images, fitted, tmp_path, monkeypatch):
    out = tmp_path / "fits.csv"
    stub = FIT._fitted

    def interrupted(job, cutout, digest):
        if cutout.id == "b":
            raise KeyboardInterrupt
        return stub(job, cutout, digest)

    monkeypatch.setattr(FIT, "_fitted", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(images, out=out, progress=False)
    assert [one.id for one in read_rows(out)] == ["a"]


def test_what_a_lens_lacks_is_said():
    pixels = np.random.default_rng(0).random((1, 9, 9))
    for known, said in (
        ({"psf": np.ones((3, 3))}, "no noise map"),
        ({"noise": np.ones((9, 9))}, "no PSF"),
        ({"noise": np.zeros((9, 9)), "psf": np.ones((3, 3))}, "noise map"),
    ):
        with pytest.raises(DataError, match=said):
            cutout_of(LensImages.from_arrays(pixels, **known)[0])


def test_another_table_is_not_overwritten(images, fitted, tmp_path):
    (tmp_path / "fits.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no catalogue of lenses"):
        fit(images, out=tmp_path / "fits.csv", progress=False)
    assert (tmp_path / "fits.csv").read_text() == "a,b\n1,2\n"


def test_masses_follow_redshifts(images, fitted, tmp_path):
    table = tmp_path / "z.csv"
    table.write_text("id,lens_redshift,source_redshift\na,0.2,0.6\nb,,\n")
    rows = fit(images, redshifts=table, progress=False)
    # An Einstein radius of 1.2 arcsec at these redshifts is a galaxy of about 2e11 solar masses.
    assert Redshifts(0.2, 0.6).mass(1.2) == pytest.approx(2.0e11, rel=0.15)
    assert rows[0].perturber_mass_msun == pytest.approx(Redshifts(0.2, 0.6).mass(0.1))
    assert all(math.isnan(one.perturber_mass_msun) for one in rows[1:])
    table.write_text("id,lens_redshift,source_redshift\na,0.6,0.2\n")
    with pytest.raises(DataError, match="source behind it"):
        read_redshifts(table)
    table.write_text("id,z\na,0.6\n")
    with pytest.raises(DataError, match="no column lens_redshift"):
        read_redshifts(table)


def test_catalogue_survives_every_format(tmp_path):
    rows = [row("a"), LensRow(id="b", error="no PSF")]
    for name in ("fits.csv", "fits.ecsv"):
        write_rows(rows, tmp_path / name)
        assert [repr(one) for one in read_rows(tmp_path / name)] == [repr(one) for one in rows]


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
    assert model_error(quiet[:3]) == REFERENCE
    doubtful = [replace(one, quality="faint source", perturber_log_evidence=500.0) for one in quiet]
    assert model_error([*quiet, *doubtful]) == model_error(quiet)
    assert with_p_values([LensRow(id="x", error="no PSF")])[0].error == "no PSF"
