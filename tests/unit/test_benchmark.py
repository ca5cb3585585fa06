"""The benchmark: runs made once, failures named, one table."""

from __future__ import annotations

import base64
import json
import re
import sys
from urllib.parse import unquote

import numpy as np
import pytest
from astropy.table import Table
from page_text import Page

from lumpylens import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.report import comparison_page
from lumpylens.report.comparison import Comparison
from lumpylens.report.curves import Curves, compared_low
from lumpylens.report.style import LIGHT
from lumpylens.results.metrics import CURVE_FPRS, separation
from lumpylens.verbs.benchmark.compare import benchmark as run_benchmark
from lumpylens.verbs.benchmark.run import REFERENCE, Job, by_class, main, run

EMBEDDED = comparison_page.embedded
benchmark_module = sys.modules["lumpylens.verbs.benchmark.compare"]


@pytest.fixture(scope="module")
def lenses(tmp_path_factory):
    """Normal images span three directions; anomalous ones have a spot besides."""
    random = np.random.default_rng(0)
    images = random.normal(size=(260, 3)) @ random.normal(size=(3, 144))
    images = (images + 0.1 * random.normal(size=images.shape)).reshape(-1, 12, 12)
    images[180:, 4:6, 4:6] += 3
    path = tmp_path_factory.mktemp("data") / "lenses.npz"
    np.savez(path, images=images.astype(np.float32), labels=np.repeat([0, 1], [180, 80]))
    return path


@pytest.fixture(scope="module")
def one(lenses):
    return run(Job(str(lenses), "pca", 0, "cpu", False, ""))


@pytest.fixture
def made(one, monkeypatch):
    """Runs are made by a stand-in; the list says which were asked for."""
    asked, really = [], benchmark_module.subprocess.run

    def stand_in(command, *, input=None, **options):
        if "lumpylens.verbs.benchmark.run" not in command:  # other packages look about themselves
            return really(command, input=input, **options)
        job = json.loads(input)
        asked.append((job["detector"], job["seed"]))
        found = {**one, "detector": job["detector"], "seed": job["seed"]}
        if job["also"] is not None:
            found["also"] = {**one["metrics"], "auc": 0.75}
            found["also_roc"] = [0.5] * len(CURVE_FPRS)
        if job["detector"] == REFERENCE:
            curve = [[10, 0.6], [20, 0.8]]
            found["metrics"] = separation([0.0, 1.0, 2.0], [1.5, 2.5, 3.5])
            found["roc"] = [0.4] * len(CURVE_FPRS)
            found["metrics"]["learning_curve"] = curve
        if job["detector"] == "rbm":
            found = {"detector": "rbm", "seed": job["seed"], "failed": "it diverged"}
        with open(job["result"], "w") as file:
            json.dump(found, file)
        return type("Done", (), {"returncode": 0, "stderr": b""})

    monkeypatch.setattr(benchmark_module.subprocess, "run", stand_in)
    # drawing takes most of the time
    monkeypatch.setattr(comparison_page, "embedded", lambda draw: {"light": "", "dark": ""})
    return asked


def call(lenses, out, *detectors, **options):
    return run_benchmark(lenses, detectors, out=out, progress=False, **options)


def test_a_run_measures_what_the_table_shows(one):
    assert one["metrics"]["auc"] > 0.9
    assert one["metrics"]["n_normal"] < 40
    assert one["metrics"]["n_anomalous"] == 80
    assert 100 < one["n_train"] < 150
    for key in ("training_core_seconds", "images_per_core_second", "peak_memory_mb", "model_mb"):
        assert one[key] > 0
    json.dumps(one)


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same(lenses, one, tmp_path):
    result = run_benchmark(lenses, ["pca"], out=tmp_path, name="small", progress=False)
    assert result.numbers["rows"][0]["auc"] == one["metrics"]["auc"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "runs", "small.html", "small.json", "small.md"
    ]  # fmt: skip
    assert json.loads((tmp_path / "small.json").read_text()) == json.loads(
        json.dumps(result.numbers)
    )
    assert [entry.name for entry in (tmp_path / "runs" / "small").iterdir()] == ["pca-0.json"]


def test_a_run_keeps_its_roc_curve(one):
    curve = dict(zip(CURVE_FPRS, one["roc"], strict=True))
    for fpr, rate in one["metrics"]["tpr_at_fpr"].items():
        assert curve[float(fpr)] == pytest.approx(rate, abs=1e-5)
    assert curve[1.0] == 1
    width = np.diff(CURVE_FPRS)
    area = float((width * one["roc"][:-1]).sum())
    assert area == pytest.approx(one["metrics"]["auc"], abs=0.02)


def test_curves_are_averaged_over_seeds_and_missing_where_one_is():
    assert benchmark_module.mean_curve([[0.0, 0.5], [0.5, 1.0]]) == [0.25, 0.75]
    assert benchmark_module.mean_curve([[0.0, 0.5], None]) is None


def test_the_page_has_all_curves_the_tables_and_how_it_was_made(
    lenses, made, tmp_path, monkeypatch
):
    monkeypatch.setattr(comparison_page, "embedded", EMBEDDED)
    name = "A & <B>"
    result = call(
        lenses, tmp_path, "pca", "dcae", "rbm", seeds=[0, 1], reference=True, name=name
    )  # fmt: skip
    row = result.numbers["rows"][0]
    assert row["roc"] == one_curve(result, tmp_path, row["detector"])
    text = (tmp_path / f"{name}.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    for said in ("pca", "dcae", "learned from labels", "rbm with seed 0 (it diverged)",
                 "--detectors pca,dcae,rbm", "0.932", "mean pixel value",
                 f"{row['auc_low']:.4f} to {row['auc_high']:.4f}", "No detector"):  # fmt: skip
        assert said in page.text
    assert "No curve is stored" not in page.text
    pictures = [image["src"] for image in page.all("img")]
    pictures += [source["srcset"] for source in page.all("source")]
    assert len(set(pictures)) == 4
    drawn = [base64.b64decode(picture.partition("base64,")[2]) for picture in pictures]
    assert all(svg.lstrip().startswith(b"<?xml") for svg in drawn)
    assert f"pca {row['auc']:.4f}" in page.all("img")[0]["alt"]
    assert name not in text
    # it asks nobody for anything
    assert not re.search(r"(src|srcset|href)=\"(?!data:|#|A%20)", text)
    links = [unquote(link["href"]) for link in page.all("a") if not link["href"].startswith("#")]
    assert [(tmp_path / link).is_file() for link in links] == [True, True]


def one_curve(result, folder, detector):
    (first, *_) = sorted((folder / "runs" / result.numbers["name"]).glob(f"{detector}-*.json"))
    return json.loads(first.read_text())["roc"]


def test_the_page_of_a_result_without_curves_says_so(lenses, made, tmp_path):
    result = call(lenses, None, "pca", "dcae")
    rows = [{**row, "roc": None} for row in result.numbers["rows"]]
    whole, half = (
        Comparison({**result.numbers, "rows": kept})
        for kept in (rows, [result.numbers["rows"][0], rows[1]])
    )
    half.write(tmp_path)
    page = Page((tmp_path / "benchmark.html").read_text(encoding="utf-8"))
    assert f"No curve is stored for {rows[1]['detector']}: an older version" in page.text
    whole.write(tmp_path)
    page = Page((tmp_path / "benchmark.html").read_text(encoding="utf-8"))
    assert page.all("img") == []
    assert "ROC curves" not in page.text


def test_names_stand_apart_beside_the_curves():
    names = [f"pkg.module:Detector{k}" for k in range(9)]
    rates = {name: np.linspace(0.01 * k, 1, len(CURVE_FPRS)) for k, name in enumerate(names)}
    curves = Curves(CURVE_FPRS, rates, dict.fromkeys(names, 0.5), "", 100)
    axes = compared_low(LIGHT, curves).axes[0]
    heights = sorted(text.get_position()[1] for text in axes.texts)
    assert min(np.diff(heights)) > 0.06
    assert 0 <= heights[0] < heights[-1] <= 1
    assert max(len(text.get_text()) for text in axes.texts) <= 24
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines[:9]}
    assert len(looks) == 9
    assert {line.get_drawstyle() for line in axes.lines[:9]} == {"steps-post"}


def test_a_run_that_is_there_is_not_made_again(lenses, made, tmp_path):
    call(lenses, tmp_path, "pca", seeds=[0])
    call(lenses, tmp_path, "pca", seeds=[0, 1])
    assert made == [("pca", 0), ("pca", 1)]
    (tmp_path / "runs" / "benchmark" / "pca-1.json").write_text('{"cut')
    call(lenses, tmp_path, "pca", seeds=[0, 1])
    assert made[2:] == [("pca", 1)]


def test_some_are_trained_once(lenses, made, tmp_path):
    result = call(lenses, tmp_path, "pca", "aae", seeds=(0, 1), once=["aae"])
    assert made == [("pca", 0), ("pca", 1), ("aae", 0)]
    assert "--once aae" in result.numbers["command"]
    assert "means over 2 seeds (one for `aae`)" in (tmp_path / "benchmark.md").read_text()
    with pytest.raises(ModelError, match="vae is to be trained once, but is not among pca"):
        call(lenses, tmp_path, "pca", once=["vae"])


def test_other_images_are_other_runs(lenses, made, tmp_path):
    call(lenses, tmp_path, "pca")
    with np.load(lenses) as arrays:
        changed = dict(arrays)
    changed["images"][0, 0, 0] += 1
    np.savez(tmp_path / "changed.npz", **changed)
    call(tmp_path / "changed.npz", tmp_path, "pca")
    assert made == [("pca", 0), ("pca", 0)]


def test_a_run_of_an_own_detector_is_made_again_when_its_code_changes(
    lenses, made, tmp_path, monkeypatch
):
    code = "from mean_image import MeanImage\nclass Own(MeanImage): name = 'own'\n"
    (tmp_path / "benchmarked.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    name = "benchmarked:Own"
    result = call(lenses, tmp_path, "pca", name)
    assert f"--detectors pca,{name}" in result.numbers["command"]
    assert f"| `{name}` |" in (tmp_path / "benchmark.md").read_text()
    assert (tmp_path / "runs" / "benchmark" / "benchmarked-Own-0.json").is_file()
    call(lenses, tmp_path, name)
    assert made == [("pca", 0), (name, 0)]
    (tmp_path / "benchmarked.py").write_text(code + "# changed\n")
    call(lenses, tmp_path, "pca", name)
    assert made[2:] == [(name, 0)]
    with pytest.raises(ModelError, match="__main__:Own cannot be found by the runs"):
        call(lenses, tmp_path, "__main__:Own")


def test_a_result_of_another_detector_is_not_taken(lenses, made, tmp_path):
    call(lenses, tmp_path, "pca")
    place = tmp_path / "runs" / "benchmark" / "pca-0.json"
    place.write_text(place.read_text().replace('"detector": "pca"', '"detector": "other"'))
    call(lenses, tmp_path, "pca")
    assert made == [("pca", 0), ("pca", 0)]


def test_the_table_has_a_line_for_each_detector_and_the_published_numbers(lenses, made, tmp_path):
    result = call(lenses, tmp_path, "pca", "dcae", "rbm", seeds=[0, 1, 2])
    text = (tmp_path / "benchmark.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert sum("`pca`" in line for line in lines) == 2
    assert sum("`dcae`" in line for line in lines) == 2
    assert not any("`rbm`" in line for line in lines)
    assert "rbm with seed 0 (it diverged)" in text
    assert len(result.failed) == 3
    assert "0.932" in text
    assert "cannot be compared with the table above" in text
    assert "means over 3 seeds" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| `pca` |")}
    assert widths == {13, 5}


def test_a_population_is_simulated_as_it_is_and_compensated(made, tmp_path, monkeypatch):
    options = {"n": 6, "n_anomalous": 3, "substructure": "string", "name": "lsst"}
    result = call("lsst", tmp_path, "pca", **options)
    assert made == [("pca", 0)]
    assert "--n 6 --n-anomalous 3 --substructure string" in result.numbers["command"]
    assert (result.numbers["n_given_normal"], result.numbers["n_given_anomalous"]) == (6, 3)
    # The stand-in gives the second class an AUC of its own.
    assert result.numbers["rows"][0]["auc"] != result.compensated.numbers["rows"][0]["auc"]
    assert "mass-compensated" in (tmp_path / "lsst-compensated.md").read_text()
    assert 'href="lsst-compensated.html"' in (tmp_path / "lsst.html").read_text()
    assert (tmp_path / "lsst-compensated.html").is_file()
    assert result.compensated.numbers["rows"][0]["roc"] == [0.5] * len(CURVE_FPRS)
    (place,) = (tmp_path / "simulated").iterdir()
    normal, added = by_class(place / "as-is")
    spared = LensImages.open(place / "compensated" / "sub.h5")
    assert (len(normal), len(added), spared.labels.tolist()) == (6, 3, [1, 1, 1])
    assert added.ids == [f"sub.h5[{name}]" for name in spared.ids]
    radii = [
        Table.read(folder / "sub.truth.ecsv")["halo_einstein_radius_px"]
        for folder in (place / "as-is", place / "compensated")
    ]
    assert (radii[1] < radii[0]).all()

    monkeypatch.setattr(sys.modules["lumpylens.simulation"], "simulate", None)
    call("lsst", tmp_path, "pca", **options)
    assert made == [("pca", 0)]
    with pytest.raises(DataError, match="images of both classes"):
        call("lsst", tmp_path, "pca", n=0)


def test_the_supervised_reference_stands_below_the_line(lenses, made, tmp_path):
    result = call(lenses, tmp_path, "pca", seeds=[0, 1], reference=True)
    assert made == [("pca", 0), ("pca", 1), (REFERENCE, 0)]
    assert [row["detector"] for row in result.numbers["rows"]] == ["pca"]
    assert result.numbers["reference"]["n_normal"] == 3
    above, below = (tmp_path / "benchmark.md").read_text().split("\n---\n")
    assert "with their labels" in below
    assert "labelled images: 0.6000 from 10, 0.8000 from 20." in below
    assert "supervised reference" not in above
    assert call(lenses, tmp_path, "pca").numbers["reference"] is None


@pytest.mark.slow
def test_the_supervised_reference_learns_from_some_and_is_measured_on_others(lenses):
    found = run(Job(str(lenses), REFERENCE, 0, "cpu", False, ""))
    assert found["metrics"]["auc"] > 0.8
    assert found["n_train"] + found["metrics"]["n_normal"] + found["metrics"]["n_anomalous"] < 260
    assert len(found["roc"]) == len(CURVE_FPRS)
    counts = [count for count, _ in found["metrics"]["learning_curve"]]
    assert counts[-1] == found["n_train"]
    assert counts == pytest.approx([counts[-1] / 4, counts[-1] / 2, counts[-1]], abs=1)
    json.dumps(found)


def test_without_a_folder_the_result_is_all_there_is(lenses, made):
    result = call(lenses, None, "pca", "dcae")
    assert result.numbers["name"] == "benchmark"
    assert result.to_pandas()["detector"].tolist() == result.columns()["detector"]
    assert set(result.columns()["detector"]) == {"pca", "dcae"}
    assert repr(result).count("AUC") == 2
    assert result._repr_html_().count("<tr>") == 3


def test_mistakes_are_named_before_any_run(lenses, made, tmp_path):
    with pytest.raises(ModelError, match="did you mean pca"):
        call(lenses, tmp_path, "pcaa")
    with pytest.raises(ModelError, match="at least one"):
        call(lenses, tmp_path, seeds=[])
    for mistake in ({"detectors": ["pcaa"]}, {"substructure": "nope"}, {}):
        options = {"detectors": ["pca"], "progress": False, "out": tmp_path / "results"} | mistake
        with pytest.raises((DataError, ModelError)):
            run_benchmark("slc" if "substructure" in mistake else "slcc", **options)
        assert not (tmp_path / "results").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        call(lenses, tmp_path / "file", "pca")
    np.save(tmp_path / "unlabelled.npy", np.random.default_rng(0).random((9, 8, 8)))
    with pytest.raises(DataError, match="needs both"):
        by_class(tmp_path / "unlabelled.npy")
    assert made == []


def test_all_runs_failing_is_an_error(lenses, made, tmp_path):
    with pytest.raises(ModelError, match="all 1 runs failed; the first, rbm: it diverged"):
        call(lenses, tmp_path, "rbm")


def test_a_run_writes_its_mistake_down(lenses, tmp_path, monkeypatch):
    import io

    job = {"data": str(tmp_path / "nowhere"), "detector": "pca", "seed": 3, "device": "cpu"}
    job |= {"progress": False, "result": str(tmp_path / "found.json")}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job)))
    main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["detector"], found["seed"]) == ("pca", 3)
    assert "nowhere" in found["failed"]
