"""Simulated shards: the images of one call, made in pieces, each once."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.scale import simulate_shards
from lumpylens.scale.simulating import SimulateTask
from lumpylens.simulation import population, simulate

OPTIONS = {"seed": 4, "substructure": "points", "progress": False}


def test_shards_hold_the_images_of_one_call(tmp_path):
    out = tmp_path / "out"
    campaign = simulate_shards("slc", 5, out=out, shard=2, **OPTIONS)
    assert (campaign.shards, campaign.shards_before, campaign.images) == (3, 0, 5)
    files = sorted((out / "shards").glob("*.h5"))
    images = [item for file in files for item in LensImages.open(file)]
    expected = simulate("slc", 5, seed=4, substructure="points")
    assert [item.id for item in images] == expected.ids
    for item, other in zip(images, expected, strict=True):
        np.testing.assert_array_equal(item.image, other.image)
        assert item.label == 1
    assert len(list((out / "shards").glob("*.truth.ecsv"))) == 3

    frame = campaign.to_pandas()
    assert frame["file"].tolist() == [f"shards/{file.name}" for file in files]
    assert frame["images"].tolist() == [2, 2, 1]
    assert "5 images in 3 shards" in campaign._repr_html_()
    written = campaign.write(tmp_path / "campaign.json").read_text(encoding="utf-8")
    assert written == (out / "summary.json").read_text(encoding="utf-8")

    finished = simulate_shards("slc", 5, out=out, shard=2, cluster="tcp://127.0.0.1:1", **OPTIONS)
    assert (finished.shards_before, finished.images) == (3, 5)

    files[1].unlink()
    (out / "shards" / ".lenses-0000000002.dead").mkdir()
    again = simulate_shards("slc", 5, out=out, shard=2, **OPTIONS)
    assert (again.shards_before, again.images) == (2, 5)
    assert files[1].exists()
    assert not list((out / "shards").glob(".*"))
    with pytest.raises(ModelError, match="images of other settings"):
        simulate_shards("slc", 5, out=out, shard=2, **{**OPTIONS, "seed": 5})


def test_shards_that_fail_are_counted_apart(tmp_path, monkeypatch):
    run = SimulateTask.run

    def one_fails(task):
        if task.first == 2:
            raise DataError("the disk is full")
        return run(task)

    monkeypatch.setattr(SimulateTask, "run", one_fails)
    found = simulate_shards("slc", 3, out=tmp_path / "out", shard=1, **OPTIONS)
    assert (found.shards, found.shards_before, found.images) == (3, 0, 2)
    assert found.failed_shards == {"lenses-0000000002": "the disk is full"}


def test_tasks_travel_and_know_the_program(tmp_path):
    task = SimulateTask(population("slc"), None, 0, 0, 1, str(tmp_path))
    assert pickle.loads(pickle.dumps(task)).required() == task.required()
    assert replace(task, first=1).required() != task.required()
    with pytest.raises(ModelError, match="given out by 0.0.1"):
        replace(task, lumpylens="0.0.1").run()


def test_mistakes_are_named_before_the_work(tmp_path):
    for options in ({"n": 0}, {"shard": 0}, {"seed": -1}):
        with pytest.raises(DataError, match="numbers of images are positive"):
            simulate_shards(out=tmp_path / "out", progress=False, **options)
    with pytest.raises(DataError, match="no cluster called"):
        simulate_shards(out=tmp_path / "out", cluster="here")
    assert not (tmp_path / "out").exists()
