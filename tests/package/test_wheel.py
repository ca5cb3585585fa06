"""The wheel holds what it needs, and works where nothing but its dependencies is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import lazy_loader
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lumpylens"


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory) -> Path:
    """Programs of a new environment with the wheel in it, and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([folder / "bin" / "python", *command], check=True, capture_output=True)
    return folder / "bin"


def test_holds_all_of_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        f"lumpylens/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
    assert {Path(name).suffix for name in held} >= {".py", ".toml", ".typed"}


def test_is_small(wheel):
    assert wheel.stat().st_size < 30e6


def test_says_what_it_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        about = Parser().parsestr(archive.read(names["METADATA"]).decode())
        assert "MIT License" in archive.read(names["LICENSE"]).decode()
    assert about["License-Expression"] == "MIT"
    assert about["Requires-Python"] == ">=3.11"
    assert {"parquet", "onnx", "scale", "test", "docs", "dev"} <= set(
        about.get_all("Provides-Extra")
    )
    needed = about.get_all("Requires-Dist")
    assert all(">=" in line for line in needed if not line.startswith("lumpylens["))


def test_imports_with_nothing_but_the_lazy_loader(clean, tmp_path):
    (tmp_path / "lazy_loader").symlink_to(Path(lazy_loader.__file__).parent)
    code = "import lumpylens; print(lumpylens.__file__, lumpylens.__version__)"
    done = subprocess.run(
        [clean / "python", "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert str(clean.parent) in done.stdout


def test_runs_with_its_dependencies_beside_it(clean):
    # Only site folders honour .pth files, so the source tree that is installed for development
    # is not found through this path, but its dependencies are.
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_paths()["purelib"]}
    done = subprocess.run(
        [clean / "lumpylens", "info", "--json"],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    told = json.loads(done.stdout)
    assert told["detectors"]["pca"].startswith("Principal components")
    assert all(text != "not installed" for text in told["detectors"].values())
