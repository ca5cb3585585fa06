"""The command line: verbs, exit statuses, one line per mistake."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lumpylens import cli
from lumpylens.errors import DataWarning
from lumpylens.results.score_table import ScoreTable

VERBS = (
    "adapt", "benchmark", "demo", "evaluate", "explain", "export", "fetch", "fit", "info",
    "population", "score", "sensitivity", "simulate", "train",
)  # fmt: skip


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["lumpylens", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (done.value.code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def lenses(tmp_path_factory):
    """Folder with normal.npy and anomalous.npy, and spoilt.npy with two bad images."""
    random = np.random.default_rng(0)
    images = random.normal(size=(300, 3)) @ random.normal(size=(3, 144))
    images = (images + 0.1 * random.normal(size=images.shape)).reshape(-1, 12, 12)
    images[240:, 4:6, 4:6] += 3
    folder = tmp_path_factory.mktemp("lenses")
    np.save(folder / "normal.npy", images[:240].astype(np.float32))
    np.save(folder / "anomalous.npy", images[240:].astype(np.float32))
    images[240, 0, 0], images[241] = np.nan, 7
    np.save(folder / "spoilt.npy", images[240:].astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def model(lenses, tmp_path_factory):
    from lumpylens.verbs.train import train

    out = tmp_path_factory.mktemp("trained") / "model"
    train(lenses / "normal.npy", "pca", out=out, settings={"max_components": 10}, progress=False)
    return out


def is_one_line(text: str) -> bool:
    return text.startswith("lumpylens: ") and text.count("\n") == 1 and "Traceback" not in text


def test_no_arguments_show_the_verbs(call):
    status, out, _ = call()
    assert status == 0
    assert all(f"  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_the_common_flags(call, verb):
    status, out, _ = call(verb, "--help")
    assert status == 0
    assert all(flag in out for flag in ("--json", "--quiet", "--debug"))


def test_version(call):
    assert call("--version")[1].startswith("lumpylens 0.")


@pytest.mark.parametrize("module", ["lumpylens", "lumpylens.cli"])
def test_the_command_line_is_a_module_too(module):
    arguments = [sys.executable, "-m", module, "--version"]
    printed = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    assert printed.startswith("lumpylens 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "Did you mean 'train'"),
        (["train"], "Missing argument 'data' (see lumpylens train --help)"),
        (["train", "x", "--sed", "1"], "No such option"),
        (["train", "x", "--seed", "one"], "--seed"),
        (["train", "/nowhere", "--detector", "pca"], "/nowhere"),
        (["train", "x", "--detector", "pac"], "did you mean pca?"),
        (["train", "x", "--detector", "pca", "--set", "max_components"], "NAME=VALUE"),
        (["train", "x", "--detector", "pca", "--set", "max_component=3"], "max_components"),
        (["train", "x", "--detector", "pca", "--set", "max_components=x"], "max_components"),
        (["train", "x", "--detector", "pca", "--config", "/nowhere.toml"], "/nowhere.toml"),
        (["train", "x", "--detector", "pca", "--device", "tpu"], "tpu"),
        (["score", "/nowhere", "x"], "no model folder /nowhere"),
        (["explain", "/nowhere", "x"], "no model folder /nowhere"),
        (["evaluate", "/nowhere", "--normal", "x"], "--anomalous"),
        (["benchmark", "x", "--seeds", "a,b"], "--seeds"),
        (["benchmark", "x", "--detectors", "pca,vea"], "did you mean vae"),
        (["fetch", "slac"], "slac"),
        (["export", "/nowhere", "--out", "m.pt2"], "no model folder /nowhere"),
        (["export", "/nowhere", "--format", "pickle"], "safetensors, pt2, onnx"),
        (["info", "/nowhere"], "/nowhere"),
        (["simulate", "--out", "lenses.jpg"], ".npz"),
        (["simulate", "--out", "x.h5", "--index", "3-x"], "--index"),
        (["simulate", "--out", "x.h5", "--set", "count=3"], "--substructure"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(call, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(*arguments)
    assert status == 2
    assert out == ""
    assert is_one_line(err), err
    assert said in err


def test_debug_shows_the_traceback(call):
    status, _, err = call("score", "/nowhere", "x", "--debug")
    assert status == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("lumpylens: no model folder")


def test_train_score_and_info(call, lenses, tmp_path):
    folder = tmp_path / "model"
    status, out, err = call(
        "train", lenses / "normal.npy", "--detector", "pca", "--set", "max_components=10",
        "--seed", 3, "--out", folder, "--json",
    )  # fmt: skip
    made = json.loads(out)
    assert status == 0
    assert made["model"] == str(folder)
    assert made["images"]["found"] == 240
    assert "reading" in err
    status, out, err = call("score", folder, lenses / "anomalous.npy", "--quiet", "--json",
                            "--out", tmp_path / "scores.csv")  # fmt: skip
    assert (status, err) == (0, "")
    assert json.loads(out)["images"] == 60
    first = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert first.startswith(
        "id,anomaly_score,p_value,error,q_value,flag,warning,reconstruction_mse"
    )
    status, out, _ = call("info", folder)
    assert status == 0
    assert "max_components=10 --seed 3" in out
    told = json.loads(call("info", folder, "--json")[1])
    assert (told["kind"], told["settings"]["seed"]) == ("model", 3)


def test_settings_come_from_a_file_a_model_or_the_command_line(call, lenses, model, tmp_path):
    (tmp_path / "mine.toml").write_text("max_components = 4\nseed = 5\n")
    found = []
    for options in (
        ["--config", tmp_path / "mine.toml"],
        ["--config", model / "config.toml"],
        ["--config", tmp_path / "mine.toml", "--set", "max_components=6"],
    ):
        call("train", lenses / "normal.npy", "--detector", "pca", "--out", tmp_path / "m", *options)
        told = json.loads(call("info", tmp_path / "m", "--json")[1])
        found.append(told["settings"]["max_components"])
    assert found == [4, 10, 6]
    (tmp_path / "torn.toml").write_text("max_components = [")
    status, _, err = call("train", "x", "--detector", "pca", "--config", tmp_path / "torn.toml")
    assert status == 2
    assert "not valid TOML" in err


def test_some_failed_images_are_status_1_and_rows_with_reasons(call, lenses, model, tmp_path):
    status, out, _ = call("score", model, lenses / "spoilt.npy", "--out", tmp_path / "s.csv")
    assert status == 1
    assert "2 failed" in out
    table = ScoreTable.read(tmp_path / "s.csv")
    assert len(table) == 60
    assert "NaN" in table.error[0]
    assert "constant" in table.error[1]
    assert np.isnan(table.anomaly_score[:2]).all()
    rows = json.loads(call("score", model, lenses / "spoilt.npy", "--json", "--quiet")[1])["rows"]
    assert rows[0]["anomaly_score"] is None
    assert "NaN" in rows[0]["error"]
    assert rows[2]["error"] == ""


def test_explain_says_and_draws(call, lenses, model, tmp_path):
    given = ["explain", model, lenses / "spoilt.npy", "--out", tmp_path / "why", "--quiet", "--id"]
    status, out, _ = call(*given, "spoilt.npy[2]", "--id", "spoilt.npy[7]")
    assert status == 0
    assert "spoilt.npy[2]: Squared error of the reconstruction" in out
    written = sorted(path.name for path in (tmp_path / "why").iterdir())
    assert written == ["spoilt.npy_2.png", "spoilt.npy_7.png"]
    status, out, _ = call(*given, "spoilt.npy[2]", "--json")
    (row,) = json.loads(out)["rows"]
    column_px, row_px = row["peak_px"]
    assert row["where"].startswith(f"column {column_px:.0f}, row {row_px:.0f}: ")
    assert row["where"].endswith("row 0 is at the bottom")
    status, out, _ = call(*given, "spoilt.npy[0]", "--json")
    assert status == 1
    assert json.loads(out)["rows"][0]["peak_px"] is None
    assert "NaN" in json.loads(out)["rows"][0]["error"]
    status, _, err = call(*given, "nosuch")
    assert status == 2
    assert is_one_line(err), err


def test_export_writes_a_model_that_scores(call, lenses, model, tmp_path):
    file = tmp_path / "m.safetensors"
    status, out, _ = call("export", model, "--out", file, "--json")
    assert status == 0
    assert json.loads(out) == {"file": str(file), "bytes": file.stat().st_size}
    assert "a detector of substructure" in call("info", file)[1]
    status, out, _ = call("score", file, lenses / "anomalous.npy", "--quiet")
    assert status == 0
    assert "ScoreTable of 60 images" in out


def test_evaluate_writes_a_report(call, lenses, model, tmp_path):
    status, out, _ = call(
        "evaluate", model, "--normal", lenses / "normal.npy",
        "--anomalous", lenses / "anomalous.npy", "--out", tmp_path / "r", "--json",
    )  # fmt: skip
    assert status == 0
    metrics = json.loads(out)
    assert metrics["auc"] > 0.9
    assert json.loads((tmp_path / "r" / "metrics.json").read_text()) == metrics
    assert (tmp_path / "r" / "report.html").is_file()


def test_evaluate_counts_failed_images(call, lenses, model, tmp_path, monkeypatch):
    monkeypatch.setattr("lumpylens.report.page.write_report", lambda *_: None)
    status, out, _ = call(
        "evaluate", model, "--normal", lenses / "normal.npy",
        "--anomalous", lenses / "spoilt.npy", "--out", tmp_path / "r",
    )  # fmt: skip
    assert status == 1
    assert "AUC" in out
    assert "report.html" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "DATA/normal.npy", "--detector", "pca", "--out", "FILE/model"],
        ["score", "MODEL", "DATA/anomalous.npy", "--out", "FILE/scores.csv"],
        ["score", "MODEL", "DATA/anomalous.npy", "--out", "scores.xls"],
        ["evaluate", "MODEL", "--normal", "DATA/normal.npy", "--anomalous", "DATA/anomalous.npy",
         "--out", "FILE/report"],
        ["benchmark", "DATA", "--out", "FILE/results"],
        ["simulate", "--out", "FILE/lenses.npz"],
    ],
)  # fmt: skip
def test_a_place_that_cannot_be_written_shows_before_the_work(
    call, lenses, model, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    from lumpylens.detectors.base import Detector

    monkeypatch.setattr(Detector, "fit", None)
    monkeypatch.setattr(Detector, "score", None)
    names = {"DATA": str(lenses), "MODEL": str(model), "FILE": str(tmp_path / "file")}
    for name, path in names.items():
        arguments = [word.replace(name, path) for word in arguments]
    status, _, err = call(*arguments)
    assert status == 2
    assert is_one_line(err), err


def test_info_of_the_program_and_of_images(call, lenses):
    _, out, _ = call("info")
    assert "physics" in out
    assert "torch" in out
    told = json.loads(call("info", "--json")[1])
    assert set(told) == {"kind", "lumpylens", "detectors", "models", "versions"}
    _, out, _ = call("info", lenses / "spoilt.npy")
    assert "60 images" in out
    assert "58 of 12x12 pixels" in out
    assert "2 cannot be used" in out
    told = json.loads(call("info", lenses / "spoilt.npy", "--json", "--quiet")[1])
    assert told["shapes"] == {"12x12": 58}
    assert len(told["failed"]) == 2


def stand_in(monkeypatch, problem: BaseException | Warning) -> None:
    """Make `train` raise, or warn of, `problem`."""

    def train(*_, **__):
        if isinstance(problem, Warning):
            import warnings

            warnings.warn(problem, stacklevel=1)
            raise KeyboardInterrupt
        raise problem

    monkeypatch.setattr(importlib.import_module("lumpylens.verbs.train"), "train", train)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_is_one_line_and_status_130(call, monkeypatch):
    module = importlib.import_module("lumpylens.verbs.info")
    monkeypatch.setattr(module, "info", lambda *_, **__: interrupt())
    status, _, err = call("info", "x")
    assert status == 130
    assert is_one_line(err)
    assert "stopped; no incomplete result is left" in err


def test_training_that_is_stopped_says_how_to_go_on(call, monkeypatch, tmp_path):
    stand_in(monkeypatch, KeyboardInterrupt())
    out = tmp_path / "m"
    status, _, err = call("train", "x", "--out", out)
    assert status == 130
    assert is_one_line(err)
    assert f"no epoch was finished and no model is in {out}; the same command starts again" in err
    (tmp_path / "m.run" / "near").mkdir(parents=True)
    (tmp_path / "m.run" / "near" / "last.ckpt").write_bytes(b"")
    status, _, err = call("train", "x", "--out", out)
    assert is_one_line(err)
    assert f"its finished epochs are in {out}.run: the same command with --resume continues" in err
    assert call("train", "x", "--out", out, "--quiet") == (130, "", "")


def test_fits_that_are_stopped_say_how_to_go_on(call, monkeypatch, tmp_path):
    module = importlib.import_module("lumpylens.verbs.fit")
    monkeypatch.setattr(module, "fit", lambda *_, **__: interrupt())
    out = tmp_path / "fits.csv"
    status, _, err = call("fit", "x", "--out", out)
    assert status == 130
    assert is_one_line(err)
    assert "no lens was fitted yet; the same command starts again" in err
    out.write_text("id\n")
    assert f"fitted are in {out}; the same command continues" in call("fit", "x", "--out", out)[2]


def test_a_defect_is_not_taken_for_failed_images(call, monkeypatch):
    stand_in(monkeypatch, RuntimeError("two\nlines"))
    status, _, err = call("train", "x")
    assert status == 70
    assert "Traceback" in err
    assert "please report" in err


def test_warnings_are_one_line_and_quiet_silences_them(call, monkeypatch):
    stand_in(monkeypatch, DataWarning("colour\nimages"))
    assert "lumpylens: warning: colour images\n" in call("train", "x")[2]
    assert "warning" not in call("train", "x", "--quiet")[2]
    stand_in(monkeypatch, DeprecationWarning("some package"))
    assert "warning" not in call("train", "x")[2]


@pytest.fixture
def cluster_of_this_process(monkeypatch):
    """Do the work of a cluster here: the engine is tested elsewhere."""
    engine = importlib.import_module("lumpylens.scale.engine")
    monkeypatch.setattr(
        engine, "_on_cluster",
        lambda tasks, _: ((k, engine._outcome(task)) for k, task in enumerate(tasks)),
    )  # fmt: skip


@pytest.mark.usefixtures("cluster_of_this_process")
def test_several_files_are_scored_as_shards(call, lenses, model, tmp_path):
    shards = [lenses / "normal.npy", lenses / "spoilt.npy"]
    arguments = ["--cluster", "local:2", "--top", 3, "--out", tmp_path / "o", "--quiet"]
    status, out, err = call("score", model, *shards, *arguments)
    assert (status, err) == (1, "")
    assert "300 images of 2 shards" in out
    assert "2 shards scored" in out
    assert "298 scored, 2 failed" in out
    told = json.loads(call("score", model, *shards, *arguments, "--json")[1])
    assert (told["shards_before"], told["failed"]) == (2, 2)
    assert call("score", model, shards[0], *arguments)[0] == 0
    status, out, _ = call("score", model, shards[0], tmp_path / "none.npy", *arguments)
    assert status == 1
    assert f"failed shard {tmp_path / 'none.npy'}: " in out


@pytest.mark.usefixtures("cluster_of_this_process")
def test_images_are_simulated_in_shards(call, tmp_path):
    arguments = ["simulate", "slc", "--n", 3, "--out", tmp_path / "o", "--cluster", "local:2"]
    status, out, err = call(*arguments, "--shard", 2, "--quiet")
    assert (status, err) == (0, "")
    assert "3 images in 2 shards (0 found finished, 0 failed)" in out
    status, _, err = call(*arguments, "--index", "0-2")
    assert status == 2
    assert is_one_line(err)
    assert "leave out --index" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cluster", "local:2"], "needs --out FOLDER"),
        (["--cluster", "here", "--out", "o"], "no cluster called 'here'"),
    ],
)
def test_mistakes_with_shards_are_one_line(call, lenses, model, options, said):
    status, _, err = call("score", model, lenses / "normal.npy", lenses / "spoilt.npy", *options)
    assert status == 2
    assert is_one_line(err)
    assert said in err


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_training_leaves_checkpoints_and_no_model(lenses, tmp_path):
    command = [sys.executable, "-m", "lumpylens.cli", "train", str(lenses / "normal.npy")]
    options = ["--detector", "dcae", "--set", "max_epochs=100000", "--out", str(tmp_path / "m")]
    # A shell that runs the tests in its background has them ignore Ctrl-C; this child shall not.
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    metrics = tmp_path / "m.run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    try:
        while not metrics.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "lumpylens: stopped" in err
    assert "--resume" in err
    assert "Traceback" not in err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.run"]


def test_a_folder_without_figures_is_neither_made_nor_named(call, model, lenses, tmp_path):
    out = tmp_path / "explained"
    np.save(tmp_path / "small.npy", np.load(lenses / "normal.npy")[:3, :10, :10])
    status, said, _ = call("explain", model, tmp_path / "small.npy", "--out", out, "--quiet")
    assert status == 1
    assert said.startswith("none of 3 images can be scored: image is 10x10 pixels")
    assert "figures are in" not in said
    assert not out.exists()
    status, said, _ = call(
        "explain", model, lenses / "anomalous.npy", "--id", "anomalous.npy[0]", "--out", out,
        "--quiet",
    )  # fmt: skip
    assert said.endswith(f"figures are in {out}; row 0 is at the bottom in them\n")
    assert len(list(out.iterdir())) == 1


def test_adapting_says_what_was_left_out_and_where_the_model_is(call, lenses, tmp_path):
    model, place = tmp_path / "model", tmp_path / "adapted"
    call("train", lenses / "normal.npy", "--detector", "pca", "--out", model, "--quiet")
    code, out, err = call("adapt", model, lenses / "normal.npy", "--out", place, "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("pca adapted to")
    assert str(place) in out
    assert "of the images stand apart and were left out" in out
    code, out, _ = call("adapt", model, lenses / "normal.npy", "--out", place, "--json")
    assert json.loads(out)["adapted_from"]["model"].endswith("model")


def test_adapting_to_too_few_images_is_the_users_mistake(call, lenses, tmp_path):
    model, place = tmp_path / "model", tmp_path / "adapted"
    call("train", lenses / "normal.npy", "--detector", "pca", "--out", model, "--quiet")
    np.save(tmp_path / "few.npy", np.load(lenses / "normal.npy")[:40])
    code, _, err = call("adapt", model, tmp_path / "few.npy", "--out", place, "--quiet")
    assert code == 2
    assert "give at least 100" in err
    assert not place.exists()


def test_training_on_images_nobody_has_cleaned_says_how_many_stand_apart(call, lenses, tmp_path):
    code, out, _ = call(
        "train", lenses / "normal.npy", "--detector", "pca", "--contaminated", "--quiet",
        "--out", tmp_path / "model",
    )  # fmt: skip
    assert code == 0
    assert "0.0% of the images stand apart" in out
