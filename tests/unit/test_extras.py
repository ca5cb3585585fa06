"""The words for what is not installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import lumpylens

ROOT = Path(__file__).parents[2]
SOURCE = Path(lumpylens.__file__).parent


def test_messages_name_extras_that_exist_and_spell_out_no_command_of_their_own():
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("the tests lie outside the repository, so the extras are not known")
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = set()
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "extras.py" or "pip install 'lumpylens[" not in text, path
        named |= set(re.findall(r"pip_install\(['\"](\w+)['\"]\)", text))
    assert named >= {"asdf", "hdf5", "onnx", "parquet", "scale", "tiff", "zarr"}
    assert named <= set(about["project"]["optional-dependencies"])
