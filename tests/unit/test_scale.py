"""Shards, receipts, and what is gathered from them."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mean_image import MeanImage, blobs

from lumpylens.data.images import LensImages
from lumpylens.detectors import DETECTORS
from lumpylens.errors import DataError, LumpylensError, ModelError
from lumpylens.files.digests import stamp
from lumpylens.files.tables import read_columns
from lumpylens.results.calibration import benjamini_hochberg, benjamini_hochberg_of_counts
from lumpylens.scale import score_shard, score_shards
from lumpylens.scale.engine import check_cluster, perform, perform_all
from lumpylens.scale.shards import OTHER_REASONS, REASONS, ScoreReceipt, ScoreTask
from lumpylens.simulation import simulate
from lumpylens.store.folder import model_digest, save_model
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.score import score

SHARDS = 4


@pytest.fixture(autouse=True)
def mean_image(monkeypatch):
    monkeypatch.setitem(DETECTORS, "mean-image", "mean_image:MeanImage")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    from lumpylens.results.calibration import Calibration

    detector = MeanImage().fit(LensImages.from_arrays(blobs(40, 0)))
    held_out = detector.anomaly_score(LensImages.from_arrays(blobs(99, 1)))
    folder = tmp_path_factory.mktemp("models") / "model"
    return save_model(TrainedModel(detector, Calibration(held_out), {}), folder)


@pytest.fixture
def shards(tmp_path) -> list[Path]:
    """Four shards: a file of lumpy images, one of smooth ones, a folder, and one with bad rows."""
    folder = tmp_path / "survey"
    folder.mkdir()
    np.save(folder / "lumpy.npy", blobs(30, 2, bump=0.6))
    np.savez(folder / "smooth.npz", images=blobs(50, 3), ids=[f"lens {k}" for k in range(50)])
    (folder / "single").mkdir()
    for k, image in enumerate(blobs(5, 4)):
        np.save(folder / "single" / f"{k}.npy", image)
    bad = blobs(6, 5)
    bad[1, 3, 3], bad[4], bad[5] = np.nan, 7, -bad[5]
    np.save(folder / "spoilt.npy", bad)
    return sorted(folder.iterdir())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@given(arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 50)))
@settings(deadline=None)
def test_q_values_of_counts_are_those_of_the_images(counts):
    size = len(counts)
    ranks = np.repeat(np.arange(1, size + 1), counts)
    np.random.default_rng(0).shuffle(ranks)
    expected = benjamini_hochberg(ranks / size)
    np.testing.assert_array_equal(benjamini_hochberg_of_counts(counts)[ranks - 1], expected)


@pytest.mark.filterwarnings("ignore:.*planes of spoilt.npy")
def test_shards_together_say_what_one_table_says(model, shards, tmp_path):
    out = tmp_path / "out"
    campaign = score_shards(model, shards, out=out, fdr=0.2, top=20, progress=False)
    joined = LensImages.open(shards[0])
    for shard in shards[1:]:
        joined = joined + LensImages.open(shard)
    table = score(str(model), joined, fdr=0.2, device="cpu", progress=False)

    assert (campaign.images, campaign.failed) == (91, 2) == (len(table), table.n_failed)
    assert campaign.warned == table.n_warned == 1
    assert campaign.flagged == table.flag.sum() > 0
    selected = rows_of(out / "selected.csv")
    assert [row["id"] for row in selected] == [table.id[k] for k in np.flatnonzero(table.flag)]
    assert [float(row["q_value"]) for row in selected] == table.q_value[table.flag].tolist()
    top = rows_of(out / "top.csv")
    assert [row["id"] for row in top] == table.top(20).id
    assert campaign.to_pandas()["id"].tolist() == table.top(20).id
    assert "91 images of 4 shards" in campaign._repr_html_()
    written = campaign.write(tmp_path / "campaign.json").read_text(encoding="utf-8")
    assert json.loads(written).items() <= json.loads((out / "summary.json").read_text()).items()
    assert [float(row["anomaly_score"]) for row in top] == table.top(20).anomaly_score.tolist()
    assert [row["flag"] == "true" for row in top] == table.top(20).flag.tolist()
    scores = []
    for receipt in sorted((out / "shards").glob("*.json")):
        read = ScoreReceipt.read(receipt)
        scores += read_columns(out / "shards" / read.result)["anomaly_score"]
    np.testing.assert_array_equal(scores, table.anomaly_score)
    q_values = {row["p_value"]: row["q_value"] for row in rows_of(out / "q_values.csv")}
    assert {float(p): float(q) for p, q in q_values.items()} == {
        p: q for p, q in zip(table.p_value, table.q_value, strict=True) if not np.isnan(p)
    }


def test_what_can_never_be_flagged_is_said_before_the_work(model, shards, tmp_path, capsys):
    (tmp_path / "none.npy").write_text("")
    for fdr, said in ((0.001, "no image can be flagged"), (0.2, "fewer than 1 in 20 images")):
        score_shards(model, [tmp_path / "none.npy"], out=tmp_path / "out", fdr=fdr)
        assert f"lumpylens: {said}" in capsys.readouterr().err.split("scoring shards")[0]


def test_failures_are_summed_up_and_stop_nothing(model, shards, tmp_path):
    missing, text = tmp_path / "nothing.npy", tmp_path / "text.npy"
    text.write_text("no images")
    campaign = score_shards(model, [*shards, missing, text], out=tmp_path / "out", progress=False)
    assert set(campaign.failed_shards) == {str(missing), str(text)}
    assert "No such file" in campaign.failed_shards[str(missing)]
    assert sum(campaign.reasons.values()) == campaign.failed == 2
    assert (campaign.shards, campaign.shards_before) == (SHARDS + 2, 0)
    assert campaign.scored == 91 - 2
    assert any("constant image" in reason for reason in campaign.reasons)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["images"] == 91
    assert str(missing) in repr(campaign)


def test_finished_shards_are_not_done_again(model, shards, tmp_path):
    out = tmp_path / "out"
    first = score_shards(model, shards, out=out, progress=False)
    assert first.shards_before == 0
    written = {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}
    assert len(written) == 2 * SHARDS
    again = score_shards(model, shards, out=out, progress=False)
    assert again.shards_before == SHARDS
    assert {path: path.stat().st_mtime_ns for path in (out / "shards").iterdir()} == written
    assert replace(again, shards_before=0, seconds=0) == replace(first, seconds=0)


def test_finished_shards_need_no_cluster(model, shards, tmp_path, monkeypatch):
    monkeypatch.setattr("lumpylens.scale.engine.CONNECT_TIMEOUT_S", 0.5)
    out, nowhere = tmp_path / "out", "tcp://127.0.0.1:1"
    first = score_shards(model, shards[1:], out=out, progress=False)
    again = score_shards(model, shards[1:], out=out, cluster=nowhere, progress=False)
    assert replace(again, shards_before=0, seconds=0) == replace(first, seconds=0)
    with pytest.raises(DataError, match="no Dask scheduler answers"):
        score_shards(model, shards, out=out, cluster=nowhere, progress=False)


def test_failures_among_finished_shards_keep_their_names(model, shards, tmp_path):
    out, missing = tmp_path / "out", tmp_path / "nothing.npy"
    score_shards(model, [shards[0], shards[2]], out=out, progress=False)
    again = score_shards(model, [shards[0], missing, *shards[1:3]], out=out, progress=False)
    assert list(again.failed_shards) == [str(missing)]
    assert (again.shards, again.shards_before) == (4, 2)


def test_a_stamp_tells_names_sizes_and_times_of_change(tmp_path):
    file = tmp_path / "shard" / "images.npy"
    file.parent.mkdir()
    file.write_bytes(b"12345")
    os.utime(file, ns=(0, 10**9))
    before = {stamp(file), stamp(file.parent)}
    assert {stamp(file), stamp(file.parent)} == before
    os.utime(file, ns=(0, 10**9 + 1))
    touched = {stamp(file), stamp(file.parent)}
    file.write_bytes(b"123456")
    os.utime(file, ns=(0, 10**9))
    larger = {stamp(file), stamp(file.parent)}
    file.rename(file.with_name("other.npy"))
    renamed = {stamp(file.parent)}
    assert len(before | touched | larger | renamed) == 7


def no_table(table, receipt, shard):
    table.unlink()


def other_table(table, receipt, shard):
    table.write_bytes(table.read_bytes()[:-1] + b"x")


def no_receipt(table, receipt, shard):
    receipt.unlink()


def torn_receipt(table, receipt, shard):
    receipt.write_bytes(receipt.read_bytes()[:-30])


def other_format(table, receipt, shard):
    receipt.write_text(receipt.read_text().replace('"format":1', '"format":2'))


def other_images(table, receipt, shard):
    np.save(shard, blobs(31, 2, bump=0.6))


@pytest.mark.parametrize(
    "spoil", [no_table, other_table, no_receipt, torn_receipt, other_format, other_images]
)
def test_what_is_not_whole_or_not_the_same_is_done_again(spoil, model, shards, tmp_path):
    out = tmp_path / "out"
    before = score_shards(model, shards, out=out, progress=False)
    task = ScoreTask(str(shards[0]), str(model), model_digest(model), str(out / "shards"))
    spoil(out / "shards" / f"{task.name}.parquet", task.receipt_path, shards[0])
    again = score_shards(model, shards, out=out, progress=False)
    assert again.shards_before == SHARDS - 1
    assert again.images == before.images + (spoil is other_images)
    assert task.receipt() is not None


def test_other_settings_are_other_work(model, shards, tmp_path):
    score_shards(model, shards, out=tmp_path / "out", top=5, progress=False)
    again = score_shards(model, shards, out=tmp_path / "out", top=6, progress=False)
    assert again.shards_before == 0
    other = score_shards(model, shards, out=tmp_path / "out", top=6, fdr=0.3, progress=False)
    assert other.shards_before == SHARDS


def test_what_a_killed_writer_left_is_taken_away(model, shards, tmp_path):
    out = tmp_path / "out"
    score_shards(model, shards, out=out, progress=False)
    (out / "shards" / ".a.0123.part.parquet").write_bytes(b"half")
    score_shards(model, shards, out=out, progress=False)
    assert not list((out / "shards").glob(".*"))


def test_a_shard_that_fails_to_be_written_leaves_nothing(model, shards, tmp_path, monkeypatch):
    import lumpylens.scale.shards as module

    def full(columns, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_columns", full)
    with pytest.raises(DataError, match="No space left"):
        score_shard(shards[0], model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["survey"]


def test_one_shard_alone(model, shards, tmp_path):
    receipt = score_shard(shards[0], model, tmp_path / "out", top=3)
    assert receipt.images == 30
    assert [row for row, _, _ in receipt.top] == score(
        str(model), shards[0], progress=False
    ).order()[:3].tolist()
    columns = read_columns(tmp_path / "out" / receipt.result)
    assert {"id", "anomaly_score", "p_value", "error", "warning", "free_mass"} <= set(columns)
    assert not {"q_value", "flag"} & set(columns)
    assert score_shard(shards[0], model, tmp_path / "out", top=3) == receipt


def test_the_quick_score_of_shards(model, tmp_path):
    images = simulate("slc", 6, seed=5)
    paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
    for path, part in zip(paths, (images[:3], images[3:]), strict=True):
        np.save(path, part.stack().pixels.astype(np.uint8))
    found = score_shards("slc-physics", paths, out=tmp_path / "out", fast=True, progress=False)
    assert found.scored == 6
    scores = {float(row["anomaly_score"]) for row in rows_of(tmp_path / "out" / "top.csv")}
    expected = score("slc-physics", images, fast=True, device="cpu", progress=False)
    assert sorted(scores) == pytest.approx(sorted(expected.anomaly_score), rel=1e-4)
    with pytest.raises(ModelError, match="other scores of this one; give another folder"):
        score_shards("slc-physics", paths, out=tmp_path / "out", progress=False)
    with pytest.raises(ModelError, match="has no fast score"):
        score_shards(model, paths, out=tmp_path / "slow", fast=True, progress=False)
    assert not (tmp_path / "slow").exists()


def test_reasons_are_counted_and_bounded(model, tmp_path):
    images = blobs(2 * REASONS, 6)
    for k, image in enumerate(images):
        image.ravel()[: k + 1] = np.nan
    np.save(tmp_path / "many.npy", images)
    receipt = score_shard(tmp_path / "many.npy", model, tmp_path / "out")
    assert len(receipt.reasons) == REASONS + 1
    assert receipt.reasons[OTHER_REASONS] == REASONS
    assert receipt.failed == 2 * REASONS


def test_tasks_travel_and_know_the_program_and_the_model(model, shards, tmp_path):
    task = ScoreTask(str(shards[0]), str(model), model_digest(model), str(tmp_path / "out"))
    assert pickle.loads(pickle.dumps(task)) == task
    with pytest.raises(ModelError, match="given out by 0.0.1"):
        replace(task, lumpylens="0.0.1").run()
    with pytest.raises(ModelError, match="not the same here"):
        replace(task, model_digest="00").run()
    assert task.run()
    assert not task.run()


def test_names_of_shards_do_not_collide(tmp_path):
    names = {
        ScoreTask(str(tmp_path / place), "m", "d", "out").name
        for place in ("a/lenses.npy", "b/lenses.npy", "a/lenses.npz", ".hidden", "ä/§ 1.npy")
    }
    assert len(names) == 5
    assert all(name == Path(name).name and not name.startswith(".") for name in names)


def test_lists_of_shards(model, shards, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, shards[1:])) + "\n\n")
    campaign = score_shards(model, [shards[0], f"@{listed}"], out=tmp_path / "out", progress=False)
    assert (campaign.shards, campaign.images) == (SHARDS, 91)


def test_mistakes_are_named_before_the_work(model, shards, tmp_path):
    other = shutil.copytree(model, tmp_path / "other")
    config = (other / "config.toml").read_text().replace("offset = -", "offset = -1")
    (other / "config.toml").write_text(config)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years")
    out = tmp_path / "out"
    score_shards(model, shards[:1], out=out, progress=False)
    for error, said, change in [
        (DataError, "no shards", {"shards": []}),
        (DataError, "given twice", {"shards": [shards[0], shards[0]]}),
        (DataError, "list of shards", {"shards": ["@nothing.txt"]}),
        (DataError, "left as it is", {"out": tmp_path / "thesis"}),
        (DataError, "no cluster called 'here'", {"cluster": "here"}),
        (ModelError, "another model", {"model": other}),
        (ModelError, "no model folder", {"model": "nothing"}),
        (ModelError, "fdr is", {"fdr": 0.0}),
        (ModelError, "top is", {"top": 0}),
        (ModelError, "no device", {"device": "tpu"}),
    ]:
        options = {"model": model, "shards": shards, "out": out} | change
        with pytest.raises(error, match=said):
            score_shards(options.pop("model"), options.pop("shards"), progress=False, **options)


@pytest.mark.parametrize(
    "name", ["local", "local:3", "tcp://host:8786", "host:8786", "scheduler.json"]
)
def test_names_of_clusters(name):
    check_cluster(name)


@pytest.mark.parametrize("name", ["local:0", "local:", "localhost", "8", ""])
def test_what_is_no_cluster(name):
    with pytest.raises(DataError, match="no cluster called"):
        check_cluster(name)


def test_without_dask_there_is_a_hint(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(DataError, match=r"pip install 'lumpylens\[scale\]'"):
        check_cluster("local")


class Work:
    """A task that does what its name says."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def run(self) -> bool:
        if self.kind == "mistake":
            raise DataError("cannot be read")
        if self.kind == "defect":
            raise ZeroDivisionError("by\nzero")
        return self.kind == "new"


def test_a_cluster_does_every_task_once_and_tells_of_each(address):
    kinds = ["new"] * 25 + ["old"] * 5 + ["mistake", "defect"]
    told: list[None] = []
    done, failures = perform_all([Work(k) for k in kinds], address, lambda: told.append(None))
    assert (done, len(told)) == (25, 32)
    assert failures == {30: "cannot be read", 31: "ZeroDivisionError: by zero"}


@pytest.mark.slow
def test_processes_do_every_task_and_tell_why_one_failed():
    with perform([Work("new"), Work("old"), Work("mistake")], None, workers=2) as outcomes:
        assert dict(outcomes) == {0: True, 1: False, 2: "cannot be read"}


def test_without_tasks_no_cluster_is_started():
    with perform([], "tcp://127.0.0.1:1") as outcomes:
        assert list(outcomes) == []


def test_a_cluster_gives_the_bits_of_one_process(address, model, shards, tmp_path):
    here = score_shards(model, shards, out=tmp_path / "here", progress=False)
    there = score_shards(model, shards, out=tmp_path / "there", cluster=address, progress=False)
    assert there.images == here.images
    for path in (tmp_path / "here" / "shards").glob("*.parquet"):
        assert path.read_bytes() == (tmp_path / "there" / "shards" / path.name).read_bytes()
    for name in ("top.csv", "selected.csv", "q_values.csv"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_an_address_where_nobody_answers(monkeypatch, tmp_path):
    monkeypatch.setattr("lumpylens.scale.engine.CONNECT_TIMEOUT_S", 0.5)
    with pytest.raises(LumpylensError, match="no Dask scheduler answers at tcp://127.0.0.1:1"):
        perform_all([Work("new")], "tcp://127.0.0.1:1", lambda: None)
    with pytest.raises(LumpylensError, match="no scheduler file"):
        perform_all([Work("new")], str(tmp_path / "scheduler.json"), lambda: None)
