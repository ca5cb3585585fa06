"""The page on the Roman Data Challenge: its four commands lead from its files to a submission."""

from __future__ import annotations

import csv
import re
import shlex
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from lumpylens import cli

PAGE = Path(__file__).parents[2] / "docs" / "roman.md"

pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="the tests lie outside the repository, so there are no pages"
)


def write(path, images, labels=None):
    with h5py.File(path, "w") as file:
        for k, image in enumerate(images):
            system = file.create_group(f"images/strong_lens_{k:08d}")
            if labels is not None:
                system.attrs["substructure"] = (str(bool(labels[k])), "Is it there?")
            for band in ("F106", "F129"):
                exposure = system.create_dataset(f"exposure_{k:08d}_{band}", data=image)
                exposure.attrs["pixel_scale"] = ("0.11", "Pixel scale [arcsec/pixel]")


def test_from_the_files_to_a_submission_in_four_commands(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    images = random.normal(size=(400, 3)) @ random.normal(size=(3, 144))
    images = (images + 0.1 * random.normal(size=images.shape)).reshape(-1, 12, 12)
    lumpy = np.arange(400) % 2 == 1
    images[lumpy, 4:6, 4:6] += 3
    write(tmp_path / "rung_1.h5", images[:300], lumpy[:300])
    write(tmp_path / "rung_1_unlabeled.h5", images[300:])
    (block, *_) = re.findall("^```text\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    commands = [shlex.split(line) for line in block.replace("\\\n", "").splitlines()]
    assert [words[1] for words in commands] == ["info", "train", "info", "score"]
    monkeypatch.chdir(tmp_path)
    for words in commands:
        # Images like these have no lens; physics would also take minutes.
        of_images = ["--detector", "pca"] if words[1] == "train" else []
        monkeypatch.setattr(sys, "argv", [*words, *of_images, "--quiet"])
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert done.value.code == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "300 images in rung_1.h5: 150 normal, 150 anomalous, 0 unlabelled" in said
    assert "band F129, one of F106, F129" in said
    assert "team_rung1_submission1.csv: " in said
    assert "if 50% of the lenses are lumpy (as given)" in said
    with (tmp_path / "team_rung1_submission1.csv").open(newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["ID", "has_substructure"]
    assert [name for name, _ in rows] == [f"strong_lens_{k:08d}" for k in range(100)]
    right = [(called == "True") == lumpy[300 + k] for k, (_, called) in enumerate(rows)]
    assert np.mean(right) > 0.8  # with 15 images for p-values
