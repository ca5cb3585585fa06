"""The page on own detectors: its class and its command make a table, in fresh processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "own-detector.md"

pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="the tests lie outside the repository, so there are no pages"
)


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_class_of_the_page_is_the_example():
    example = ROOT / "examples" / "scatter.py"
    assert blocks("python")[0] == example.read_text(encoding="utf-8")


@pytest.mark.slow
def test_from_the_class_to_the_table_in_twenty_lines(tmp_path):
    code = blocks("python")[0]
    command = blocks("text")[0].split("\n")[0]
    statements = [line for line in code.splitlines() if line.strip() and '"""' not in line]
    assert len(statements) + 1 <= 20
    (tmp_path / "scatter.py").write_text(code)
    random = np.random.default_rng(0)
    images = random.normal(size=(220, 3)) @ random.normal(size=(3, 144))
    images = (images + 0.1 * random.normal(size=images.shape)).reshape(-1, 12, 12)
    labels = np.repeat([0, 1], [140, 80])
    np.savez(tmp_path / "lenses.npz", images=images.astype(np.float32), labels=labels)

    program, verb, population, *options = shlex.split(command)
    assert (program, verb, population) == ("lumpylens", "benchmark", "slc")
    done = subprocess.run(
        # given images in place of a population: those of the page take a minute
        [sys.executable, "-P", "-m", "lumpylens.cli", verb, "lenses.npz", *options, "--quiet"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads((tmp_path / "mine" / "benchmark.json").read_text())
    assert {row["detector"] for row in result["rows"]} == {"pca", "scatter:PixelScatter"}
    assert "| `scatter:PixelScatter` |" in (tmp_path / "mine" / "benchmark.md").read_text()
    head = next(line for line in done.stdout.splitlines() if line.startswith("| detector | AUC"))
    shown = next(line for line in PAGE.read_text().splitlines() if line.startswith("| detector"))
    assert head.startswith(shown.rstrip(" |"))
