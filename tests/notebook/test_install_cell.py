"""The first cells of the notebooks where the package is not installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NAMES = ("StrongLensingChallenge", "RealLens")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / "notebooks").is_dir(),
        reason="the tests lie outside the repository, so there is no notebook",
    ),
]

RUN = """
import json, sys
import nbformat
from nbclient import NotebookClient

name, n_code, package = sys.argv[1:]
notebook = nbformat.read(name, as_version=4)
code = [cell for cell in notebook.cells if cell.cell_type == "code"][:int(n_code)]
notebook.cells = code
assert 'PACKAGE = ""' in code[0].source
code[0].source = code[0].source.replace('PACKAGE = ""', f"PACKAGE = {package!r}", 1)
NotebookClient(notebook, timeout=600, kernel_name="python3", allow_errors=True).execute()
json.dump([cell.outputs for cell in code], sys.stdout)
"""


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory) -> Path:
    """A folder with links to all that is installed here but the package itself."""
    folder = tmp_path_factory.mktemp("dependencies")
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if "lumpylens" not in path.name:
            (folder / path.name).symlink_to(path)
    return folder


@dataclass(frozen=True)
class Colab:
    """A machine that has the dependencies and not the package, and a folder with the notebooks."""

    folder: Path
    python: Path
    environment: dict[str, str]

    def outputs(self, name: str, *, cells: int = 1, package: str | Path = "") -> list[list[dict]]:
        """Outputs of the first code cells, run with this as PACKAGE."""
        done = subprocess.run(
            [self.python, "-c", RUN, f"{name}.ipynb", str(cells), str(package)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def said(self, **options) -> list[str]:
        """Lines that the first cell of the challenge's notebook prints."""
        (outputs,) = self.outputs(NAMES[0], **options)
        assert {out["output_type"] for out in outputs} <= {"stream"}
        assert {out["name"] for out in outputs} <= {"stdout"}
        return "".join(out["text"] for out in outputs).splitlines()


@pytest.fixture
def colab(tmp_path, dependencies) -> Colab:
    venv.create(tmp_path / "environment", with_pip=False)
    folder = tmp_path / "content"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", folder)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return Colab(
        folder,
        tmp_path / "environment" / "bin" / "python",
        own
        | {
            "PYTHONPATH": str(dependencies),  # pip lies there, too
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say that there is none
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "JUPYTER_PATH": "",
            "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),  # no kernel of the user's
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "LUMPYLENS_NOTEBOOK_DATA": "",
        },
    )


def clone(place: Path) -> Path:
    """What building needs of the source tree."""
    place.mkdir()
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, place)
    shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.mark.parametrize("name", NAMES)
def test_the_first_cells_run_from_a_wheel(colab, wheel, name):
    if name == NAMES[0]:
        pixels = np.random.default_rng(0).random((3, 20, 20))
        for label in ("no_sub", "sub"):
            (colab.folder / "slc" / label).mkdir(parents=True)
            np.save(colab.folder / "slc" / label / "a.npy", pixels)
        colab.environment["LUMPYLENS_NOTEBOOK_DATA"] = "slc"
    first, second = colab.outputs(name, cells=2, package=wheel)
    assert [out["text"] for out in first] == [f"Installed from {wheel}.\n"]
    assert not [out for out in second if out["output_type"] == "error"]
    said = "".join(out.get("text", "") for out in second)
    assert ("3 smooth and 3 lumpy lenses" if name == NAMES[0] else " pixels") in said
    where = subprocess.run(
        [colab.python, "-c", "import lumpylens; print(lumpylens.__file__)"],
        env=colab.environment,
        cwd=colab.folder,
        check=True,
        capture_output=True,
        text=True,
    )
    assert where.stdout.startswith(str(colab.python.parents[1]))
    # Once it is there, nothing is installed, and only a PACKAGE that is left aside is spoken of.
    assert colab.said() == []
    assert colab.said(package=wheel) == [
        "lumpylens is installed already, so nothing is installed from PACKAGE."
    ]


def test_a_clone_beside_the_notebook_is_no_installed_package(colab):
    place = clone(colab.folder / "lumpylens")
    assert colab.said() == [f"Installed from {place}."]


def test_what_fails_is_said_and_the_next_is_tried(colab, wheel):
    beside = Path(shutil.copy(wheel, colab.folder))
    assert colab.said(package="lumpylens-9.whl") == [
        "Cannot install from lumpylens-9.whl: there is no such file.",
        f"Installed from {beside}.",
    ]


def test_a_repository_that_cannot_be_reached_is_one_sentence(colab, wheel):
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    shutil.copy(wheel, colab.folder)
    missing = f"git+file://{colab.folder}/no-repository"
    first, second = colab.said(package=missing)
    assert first.startswith(f"Cannot install from {missing}: ")
    assert "no-repository" in first.partition(": ")[2]
    assert second.startswith("Installed from ")


def test_without_any_place_it_ends_in_one_sentence(colab):
    (outputs,) = colab.outputs(NAMES[0])
    said, error = outputs
    assert said["text"] == (
        "Cannot install from lumpylens: Could not find a version that satisfies the requirement "
        "lumpylens (from versions: none).\n"
    )
    assert error["ename"] == "NotInstalled"
    (shown,) = error["traceback"]
    assert shown.startswith("lumpylens is not installed: ")
    assert "PACKAGE = a wheel file, the folder of a clone, or git+https://..." in shown
    assert "\n" not in shown


def test_both_notebooks_install_alike():
    cells = []
    for name in NAMES:
        held = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        cells.append(next(cell for cell in held["cells"] if cell["cell_type"] == "code")["source"])
    assert cells[0] == cells[1]
