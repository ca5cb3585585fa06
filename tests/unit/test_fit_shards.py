"""Shards of `fit`: what is kept when a process is killed, and the same work on a cluster."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.lenses.catalogue import LensCatalogue, LensRow
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.growing import with_later_rows
from lumpylens.lenses.outputs import Outputs
from lumpylens.lenses.pictures import figure_paths
from lumpylens.lenses.recipe import digest_of_lens
from lumpylens.scale import fitting
from lumpylens.scale.fitting import FitTask, FitTasks, LensPaths, LensToFit, shard_folder
from lumpylens.verbs.fit import fit

IDS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five lenses as FITS files."""
    from astropy.io import fits

    random = np.random.default_rng(0)
    for name in IDS:
        (tmp_path / "lenses" / name).mkdir(parents=True)
        for kind, values in (
            ("image", random.random((15, 15))),
            ("noise", np.ones((15, 15))),
            ("psf", np.ones((3, 3))),
        ):
            fits.writeto(tmp_path / "lenses" / name / f"{kind}.fits", values.astype("f4"))
    return tmp_path / "lenses"


@pytest.fixture
def fitted(monkeypatch):
    """Replace the fit itself; gives the ids that were really fitted, in order."""
    done: list[str] = []

    def stub(cutout, lens, seed, outputs):
        done.append(cutout.id)
        if outputs.figures is not None:
            for path in figure_paths(cutout.id, outputs.figures):
                Image.new("RGBA", (40, 30)).save(path, dpi=(200, 200))
        return LensRow(
            id=cutout.id, digest=lens.digest, quality="good", residual_scatter=1.0,
            einstein_radius_arcsec=float(cutout.image.mean()), noise_maximum=2.5,
            noise_maximum_scale=0.35, perturber_log_evidence=len(cutout.id) + 5.0,
        )  # fmt: skip

    monkeypatch.setattr(fitting, "fit_lens", stub)
    return done


KILLED = """
import os, signal, sys
from lumpylens.lenses.catalogue import LensRow
from lumpylens.scale import fitting
from lumpylens.verbs.fit import fit

def stub(cutout, lens, seed, outputs):
    if lens.id == "d":
        os.kill(os.getpid(), signal.SIGKILL)
    return LensRow(id=cutout.id, digest=lens.digest, quality="good", slope=2.2)

fitting.fit_lens = stub
fit(sys.argv[1], out=sys.argv[2], shard=int(sys.argv[3]), pixel_scale_arcsec=0.1, progress=False)
"""


@pytest.mark.parametrize(
    ("shard", "kept"),
    [
        pytest.param(1, ["a", "b", "c"], marks=pytest.mark.slow),
        pytest.param(2, ["a", "b"], marks=pytest.mark.slow),
        pytest.param(9, [], marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_killed_loses_at_most_a_shard(shard, kept, folder, fitted, tmp_path):
    out = tmp_path / "fits.csv"
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, out, str(shard)])
    assert killed.returncode == -signal.SIGKILL
    rows = fit(folder, out=out, shard=shard, pixel_scale_arcsec=0.1, progress=False)
    assert fitted == [name for name in IDS if name not in kept]
    assert [row.id for row in rows] == IDS
    assert [row.id for row in rows if row.slope == 2.2] == kept
    assert [row.id for row in LensCatalogue.read(out)] == IDS
    assert not shard_folder(out).exists()


@pytest.mark.slow
def test_a_run_that_is_killed_twice_keeps_what_was_fitted_before_the_first(
    folder, fitted, tmp_path
):
    out = tmp_path / "fits.csv"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, folder, out, "1"])
    fit(folder, out=out, pixel_scale_arcsec=0.1, progress=False)
    assert fitted == ["d", "e"]


@pytest.mark.slow
def test_a_run_that_is_killed_before_it_begins_again_loses_nothing(folder, fitted, tmp_path):
    """Rows in shards are kept although no image can be opened now."""
    out = tmp_path / "fits.csv"
    subprocess.run([sys.executable, "-c", KILLED, folder, out, "1"])
    out.unlink()
    with pytest.raises(DataError, match="no such file"):
        fit(tmp_path / "elsewhere", out=out, pixel_scale_arcsec=0.1, progress=False)
    fit(folder, out=out, pixel_scale_arcsec=0.1, progress=False)
    assert fitted == ["d", "e"]


@pytest.mark.slow
def test_a_torn_shard_is_fitted_again(folder, fitted, tmp_path):
    out = tmp_path / "fits.csv"
    subprocess.run([sys.executable, "-c", KILLED, folder, out, "1"])
    out.unlink()
    torn, receipt = (sorted(shard_folder(out).glob(f"*.{kind}")) for kind in ("csv", "json"))
    torn[0].write_bytes(torn[0].read_bytes()[:-2])
    receipt[1].write_bytes(b"{")
    fit(folder, out=out, pixel_scale_arcsec=0.1, progress=False)
    assert len(fitted) == 4


def test_files_of_others_stay_where_the_shards_were(folder, fitted, tmp_path):
    out = tmp_path / "fits.csv"
    place = shard_folder(out)
    place.mkdir()
    for name in ("thesis.tex", ".lenses-0.part.csv"):
        (place / name).touch()
    fit(folder, out=out, pixel_scale_arcsec=0.1, progress=False)
    assert [path.name for path in place.iterdir()] == ["thesis.tex"]


def test_later_rows_replace_those_of_a_table_unless_it_knows_more():
    with_mass = LensRow(id="a", digest="1", perturber_mass_msun=1e9)
    old, other = LensRow(id="b", digest="2"), LensRow(id="x", digest="9")
    later = [LensRow(id="a", digest="1"), LensRow(id="b", digest="3"), LensRow(id="c", digest="4")]
    assert with_later_rows([with_mass, old, other], later) == [with_mass, other, *later[1:]]


def test_a_cluster_gives_the_rows_of_one_process(address, folder, fitted, tmp_path):
    known = {"pixel_scale_arcsec": 0.1, "progress": False}
    here = fit(folder, out=tmp_path / "here.csv", **known)
    there = fit(folder, out=tmp_path / "there.csv", cluster=address, shard=2, **known)
    assert repr(there.rows) == repr(here.rows)
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert sorted(fitted) == sorted(2 * IDS)
    assert not shard_folder(tmp_path / "there.csv").exists()


def test_several_paths_have_the_ids_of_the_run_on_every_machine(
    address, folder, fitted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = fit("lenses/[ab]", out="fits.csv", cluster=address, pixel_scale_arcsec=0.1,
               progress=False)  # fmt: skip
    assert [row.id for row in rows] == ["a", "b"]
    assert not any(row.error for row in rows)


def test_figures_of_a_cluster_are_titled_at_the_end(address, folder, fitted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(folder, out="fits.csv", figures="figures", cluster=address, pixel_scale_arcsec=0.1,
        progress=False)  # fmt: skip
    with Image.open(tmp_path / "figures" / "e.png") as picture:
        assert "p = " in picture.info["Title"]


def test_a_run_with_nothing_to_do_needs_no_cluster(folder, fitted, tmp_path):
    known = {"out": tmp_path / "fits.csv", "figures": tmp_path / "figures", "progress": False}
    fit(folder, pixel_scale_arcsec=0.1, **known)
    rows = fit(folder, pixel_scale_arcsec=0.1, cluster="tcp://127.0.0.1:1", **known)
    assert len(rows) == len(IDS)
    assert fitted == IDS


def test_a_shard_that_fails_costs_no_row(folder, fitted, tmp_path, monkeypatch):
    out, figures = tmp_path / "fits.csv", tmp_path / "figures"
    fit(folder, out=out, figures=figures, pixel_scale_arcsec=0.1, progress=False)
    for path in (*figure_paths("a", figures), *figure_paths("b", figures)):
        path.unlink()
    table = LensCatalogue.read(out)
    LensCatalogue(tuple(row for row in table if row.id != "b")).write(out)

    def fails(task):
        raise ModelError("another version")

    monkeypatch.setattr(FitTask, "run", fails)
    rows = fit(folder, out=out, figures=figures, pixel_scale_arcsec=0.1, progress=False)
    assert [row.error for row in rows] == ["", "another version", "", "", ""]


def test_a_title_that_cannot_be_written_is_said(folder, fitted, tmp_path, monkeypatch):
    def full(*_):
        raise DataError("the disk is full")

    monkeypatch.setattr("lumpylens.report.figure_title.write_title", full)
    with pytest.raises(DataError, match="disk is full"):
        fit(folder, figures=tmp_path / "figures", pixel_scale_arcsec=0.1, progress=False)


def task(folder: Path, out: Path, **changes) -> FitTask:
    """Task of the first two lenses."""
    images = LensImages.open(folder, pixel_scale_arcsec=0.1)
    lenses = tuple(
        LensToFit(k, images.ids[k], digest_of_lens(cutout_of(images[k]), 0)) for k in range(2)
    )
    place = LensPaths.of(folder, 0.1, None)
    return replace(FitTask(place, lenses, 0, Outputs(), str(out)), **changes)


def test_tasks_travel_are_done_once_and_know_the_program(folder, fitted, tmp_path):
    first = task(folder, tmp_path / "out")
    assert pickle.loads(pickle.dumps(first)) == first
    with pytest.raises(ModelError, match="given out by 0.0.1"):
        replace(first, lumpylens="0.0.1").run()
    assert first.run()
    assert not first.run()
    assert fitted == ["a", "b"]
    with_figures = replace(first, outputs=Outputs(figures=tmp_path))
    assert with_figures.run(), "a receipt without figures is one of other work"


def test_a_lens_whose_files_change_while_others_are_fitted_is_named(folder, fitted, tmp_path):
    lenses = task(folder, tmp_path / "out").lenses
    changed = task(folder, tmp_path / "out", lenses=(lenses[0], replace(lenses[1], digest="0")))
    assert changed.run()
    (path,) = (tmp_path / "out").glob("*.csv")
    assert [row.error for row in LensCatalogue.read(path)] == [
        "", "its files were changed while lenses were fitted; fit it again"
    ]  # fmt: skip


def test_a_lens_has_the_id_that_it_has_where_the_work_is_given_out(folder, fitted, tmp_path):
    (image, _) = LensImages.open(folder, pixel_scale_arcsec=0.1)[:2]
    digest = digest_of_lens(cutout_of(replace(image, id="z")), 0)
    task(folder, tmp_path / "out", lenses=(LensToFit(0, "z", digest),)).run()
    (path,) = (tmp_path / "out").glob("*.csv")
    assert [(row.id, row.error) for row in LensCatalogue.read(path)] == [("z", "")]


def test_images_in_memory_travel_lens_by_lens(tmp_path):
    count = 200
    images = LensImages.from_arrays(
        np.random.default_rng(0).random((count, 20, 20)), noise=np.ones((20, 20)),
        psf=np.ones((3, 3)),
    )  # fmt: skip
    shards = [(LensToFit(k, str(k), "digest"),) for k in range(count)]
    tasks = FitTasks(images, None, shards, 0, Outputs(), tmp_path)
    assert len(tasks) == len(tasks[:]) == count
    np.testing.assert_array_equal(tasks[7].images[0].image, images[7].image)
    assert len(pickle.dumps(tasks[7])) < len(pickle.dumps(images)) / 50


def test_tasks_name_places_that_are_the_same_in_every_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = LensPaths.of("lenses", None, None)
    assert place == LensPaths.of(folder, None, None)
    outputs = Outputs(Path("figures"), Path("page"), Path("products"))
    shards = [(LensToFit(0, "a", "digest"),)]
    first = FitTasks(None, place, shards, 0, outputs, Path("fits.csv.shards"))[0]
    assert first.outputs == Outputs(*(tmp_path / name for name in ("figures", "page", "products")))
    assert first.folder == str(tmp_path / "fits.csv.shards")


def test_a_worker_with_several_threads_fits_one_lens_at_a_time(folder, tmp_path, monkeypatch):
    at_work, most = set(), []

    def stub(cutout, lens, seed, outputs):
        at_work.add(lens.id)
        most.append(len(at_work))
        time.sleep(0.1)
        at_work.remove(lens.id)
        return LensRow(id=lens.id, digest=lens.digest)

    monkeypatch.setattr(fitting, "fit_lens", stub)
    both = task(folder, tmp_path / "out")
    tasks = [replace(both, lenses=(lens,)) for lens in both.lenses]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(FitTask.run, tasks)) == [True, True]
    assert most == [1, 1]


def test_rows_that_are_not_where_a_worker_wrote_them_are_missed(tmp_path):
    tasks = FitTasks(None, None, [(LensToFit(0, "a", "digest"),)], 0, Outputs(), tmp_path)
    with pytest.raises(DataError, match="must be one that all machines share"):
        tasks.rows(0)


def test_mistakes_are_named_before_the_work(folder, tmp_path):
    images = LensImages.open(folder)
    for said, data, options in [
        ("at least one lens, got 0", folder, {"shard": 0}),
        ("no cluster called 'here'", folder, {"cluster": "here"}),
        ("workers of its own", folder, {"cluster": "local:2", "workers": 2}),
        ("a cluster needs a table", folder, {"cluster": "local:2", "out": None}),
        ("give files or folders", images, {"cluster": "local:2"}),
    ]:
        with pytest.raises(DataError, match=said):
            fit(data, **{"out": tmp_path / "fits.csv", "progress": False} | options)
    assert not list(tmp_path.glob("fits*"))
