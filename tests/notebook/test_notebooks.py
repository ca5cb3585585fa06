"""The notebooks: the same in both forms, run on small sets, name no machine."""

from __future__ import annotations

import base64
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from lumpylens.data.npz import write_npz
from lumpylens.simulation import simulate

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CHALLENGE = NOTEBOOKS / "StrongLensingChallenge.py"
REAL_LENS = NOTEBOOKS / "RealLens.py"
# How many pictures there are at least, and what is printed only on the real images.
FROM_REAL_IMAGES = {
    CHALLENGE: (7, "4500 smooth and 1500 lumpy lenses of (150, 150) pixels"),
    REAL_LENS: (3, "J1627-0053: 201x201 pixels"),
}
LARGEST_BYTES = 3e6

pytestmark = pytest.mark.skipif(
    not NOTEBOOKS.is_dir(), reason="the tests lie outside the repository, so there is no notebook"
)


def execution() -> ModuleType:
    spec = importlib.util.spec_from_file_location("execute", NOTEBOOKS / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(notebook) -> list[dict]:
    return [out for cell in notebook.cells for out in cell.get("outputs", [])]


def text_of(notebook) -> str:
    """Everything that is printed or shown as text."""
    found = []
    for out in outputs(notebook):
        found.append(out.get("text", ""))
        found += [v for k, v in out.get("data", {}).items() if k.startswith("text/")]
    return "\n".join(found)


@pytest.mark.parametrize("text", FROM_REAL_IMAGES, ids=lambda path: path.stem)
def test_both_forms_hold_the_same_cells(text):
    jupytext = pytest.importorskip("jupytext")
    cells = [
        [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]
        for path in (text, text.with_suffix(".ipynb"))
    ]
    assert cells[0] == cells[1]


@pytest.mark.parametrize("text", FROM_REAL_IMAGES, ids=lambda path: path.stem)
def test_the_committed_one_was_run_to_its_end_and_is_small(text):
    nbformat = pytest.importorskip("nbformat")
    committed = text.with_suffix(".ipynb")
    least, printed = FROM_REAL_IMAGES[text]
    notebook = nbformat.read(committed, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert not [out for out in outputs(notebook) if out.output_type == "error"]
    pictures = [out["data"]["image/png"] for out in outputs(notebook)
                if "image/png" in out.get("data", {})]  # fmt: skip
    assert len(pictures) >= least
    assert all(base64.b64decode(each).startswith(b"\x89PNG") for each in pictures)
    assert committed.stat().st_size < LARGEST_BYTES
    said = text_of(notebook)
    for place in ("/home/", "/root/", "/work/", "/tmp/", "/Users/", "site-packages"):
        assert place not in said, place
    assert printed in said


@pytest.mark.slow
def test_the_challenge_runs_from_top_to_bottom_on_a_small_set(tmp_path, monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("LUMPYLENS_NOTEBOOK_DATA", "")  # restored afterwards
    # Enough that no part of the split, of which the smallest are a tenth, is empty.
    for name, count, seed, lumps in (("no_sub", 120, 0, None), ("sub", 60, 1, "points")):
        (tmp_path / name).mkdir()
        images = simulate("slc", count, seed=seed, substructure=lumps, progress=False)
        write_npz(images, tmp_path / name / "lenses.npz")
    made = execution().execute(CHALLENGE, tmp_path)
    said = text_of(made)
    assert "120 smooth and 60 lumpy lenses" in said
    # Twelve of 20 are smooth: by chance it would be three.
    assert int(re.search(r"(\d) of the 8 highest are lumpy", said)[1]) >= 6
    assert not [out for out in outputs(made) if out.output_type == "error"]
    # No warning of any package stands in a reader's way.
    assert not [out for out in outputs(made) if out.get("name") == "stderr"]


@pytest.mark.slow
def test_the_real_lens_runs_from_top_to_bottom_on_a_simulated_one(monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("LUMPYLENS_NOTEBOOK_DATA", "")
    made = execution().execute(REAL_LENS, "")
    said = text_of(made)
    assert re.search(r"Einstein radius \d\.\d+ arcsec", said)
    assert not [out for out in outputs(made) if out.get("name") == "stderr"]
