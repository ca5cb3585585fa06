"""The challenge's notebook: runs on a small set."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from lumpylens.npz import write_npz
from lumpylens.simulate import simulate

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TEXT = NOTEBOOKS / "StrongLensingChallenge.py"

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


@pytest.mark.slow
def test_runs_from_top_to_bottom_on_a_small_set(tmp_path, monkeypatch):
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("LUMPYLENS_NOTEBOOK_DATA", "")  # restored afterwards
    for name, count, seed, lumps in (("no_sub", 120, 0, None), ("sub", 24, 1, "points")):
        (tmp_path / name).mkdir()
        images = simulate("slc", count, seed=seed, substructure=lumps, progress=False)
        write_npz(images, tmp_path / name / "lenses.npz")
    made = execution().execute(tmp_path)
    said = text_of(made)
    assert "120 smooth and 24 lumpy lenses" in said
    assert "of the 8 highest are lumpy" in said
    assert not [out for out in outputs(made) if out.output_type == "error"]
    # No warning of any package stands in a reader's way.
    assert not [out for out in outputs(made) if out.get("name") == "stderr"]
