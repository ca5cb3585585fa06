"""Fixtures shared by every kind of test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Shapes and dtypes in the signatures of these modules are checked whenever a test calls them.
install_import_hook(
    ["lumpylens.physics.fit_data", "lumpylens.physics.inference"],
    "beartype.beartype",
)

# A busy machine is no failure.
settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with ``slc/lenses/{no_sub,sub}`` and ``slacs``; skips where there is none."""
    named = os.environ.get("LUMPYLENS_TEST_DATA")
    if not named:
        pytest.skip("LUMPYLENS_TEST_DATA is not set: tests on real images need that folder")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"LUMPYLENS_TEST_DATA names no folder: {folder}")
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The package as it would be published, built from the source tree."""
    root = Path(__file__).parents[1]
    if not (root / "pyproject.toml").is_file():
        pytest.skip("the tests lie outside the repository, so there is nothing to build")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built
