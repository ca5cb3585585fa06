"""`fit` with COOLEST templates and scripts: where they are written, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.exchange.place import KINDS, data_path, script_path, template_path
from lumpylens.lenses.outputs import Outputs, script_folder
from lumpylens.scale import fitting
from lumpylens.verbs.fit import fit


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).normal(size=(2, 21, 21)).astype(np.float32)
    return LensImages.from_arrays(
        pixels, ids=["a", "b"], noise=np.ones((21, 21)), psf=np.ones((3, 3))
    )


@pytest.fixture
def fitted(monkeypatch):
    """Replace the fit; gives ids and places of what was fitted."""
    done: list[tuple[str, Outputs]] = []

    def stub(cutout, lens, seed, outputs):
        done.append((cutout.id, outputs))
        for folder in (outputs.coolest, outputs.scripts):
            for kind in KINDS if folder else ():
                data_path(cutout.id, kind, folder).touch()
        if outputs.coolest:
            template_path(cutout.id, outputs.coolest).touch()
        if outputs.scripts:
            script_path(cutout.id, outputs.code, outputs.scripts).touch()
        return LensRow(id=cutout.id, digest=lens.digest, quality="good")

    monkeypatch.setattr(fitting, "fit_lens", stub)
    return done


def test_scripts_lie_beside_the_table_or_with_the_templates():
    assert script_folder(None, Path("far/fits.csv")) == Path("far/fits-scripts")
    assert script_folder(Path("templates"), Path("far/fits.csv")) == Path("templates")
    with pytest.raises(DataError, match="a script needs a folder: give the table with `out`"):
        script_folder(None, None)


def test_a_lens_without_a_file_is_fitted_again(images, fitted, tmp_path):
    wanted = {"out": tmp_path / "fits.csv", "script": "lenstronomy", "progress": False}
    fit(images, **wanted)
    scripts = tmp_path / "fits-scripts"
    assert [id for id, _ in fitted] == ["a", "b"]
    assert fitted[0][1] == Outputs(scripts=scripts, code="lenstronomy")
    fit(images, **wanted)
    assert len(fitted) == 2
    for missing in (script_path("b", "lenstronomy", scripts), data_path("b", "mask", scripts)):
        missing.unlink()
        fit(images, **wanted)
        assert fitted.pop()[0] == "b"
        assert len(fitted) == 2


def test_templates_are_wanted_again_too(images, fitted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "coolest", object())
    folder = tmp_path / "templates"
    wanted = {
        "out": tmp_path / "fits.csv", "coolest": str(folder), "script": "pyautolens",
        "progress": False,
    }  # fmt: skip
    fit(images, **wanted)
    assert fitted[0][1] == Outputs(coolest=folder, scripts=folder, code="pyautolens")
    template_path("a", folder).unlink()
    fit(images, **wanted)
    assert [id for id, _ in fitted] == ["a", "b", "a"]


def test_what_cannot_be_written_is_refused_before_the_work(images, fitted, tmp_path, monkeypatch):
    out = tmp_path / "fits.csv"
    with pytest.raises(DataError, match="no script for 'glee'; choose one of lenstronomy, py"):
        fit(images, out=out, script="glee", progress=False)
    with pytest.raises(DataError, match="a script needs a folder"):
        fit(images, script="lenstronomy", progress=False)
    monkeypatch.setitem(sys.modules, "coolest", None)
    with pytest.raises(DataError, match=r"COOLEST files need pip install 'lumpylens\[coolest\]'"):
        fit(images, coolest=tmp_path / "templates", progress=False)
    monkeypatch.setitem(sys.modules, "coolest", object())
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file; give a folder"):
        fit(images, coolest=tmp_path / "file", progress=False)
    assert fitted == []


def test_workers_elsewhere_get_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs = Outputs(coolest=Path("templates"), scripts=Path("scripts"), code="lenstronomy")
    assert outputs.absolute() == Outputs(
        coolest=tmp_path / "templates", scripts=tmp_path / "scripts", code="lenstronomy"
    )
