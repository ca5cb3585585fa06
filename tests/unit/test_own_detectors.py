"""Detectors of others: by ``module:Class`` or an entry point, and never because a file says so."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from mean_image import blobs

import lumpylens
from lumpylens.detectors import BatchScores, create, detector_class, list_detectors, name_for_file
from lumpylens.detectors.base import Detector
from lumpylens.errors import DataWarning, ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.scale.shards import ScoreTask
from lumpylens.store.folder import load_model, model_digest, save_model
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.info import info
from lumpylens.verbs.train import train

HALO = """
from mean_image import MeanImage

class Halo(MeanImage):
    name = {name!r}
"""

names = (f"own_module_{k}" for k in itertools.count())


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder on Python's path."""
    place = tmp_path / "code"
    place.mkdir()
    monkeypatch.syspath_prepend(place)
    return place


@pytest.fixture
def module(folder) -> str:
    """Name of a module with the detector `Halo`, whose name is that of the module."""
    return written(folder, HALO)


def written(folder: Path, code: str) -> str:
    """Write a module that was never imported, and return its name."""
    module = next(names)
    (folder / f"{module}.py").write_text(code.format(name=module))
    return module


def offer(folder: Path, package: str, **points: str) -> None:
    """Install a package that offers detectors by entry points."""
    information = folder / f"{package}-1.5.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Name: {package}\nVersion: 1.5\n")
    text = "\n".join(f"{name} = {value}" for name, value in points.items())
    (information / "entry_points.txt").write_text(f"[lumpylens.detectors]\n{text}\n")


def python(*arguments: str, path: Path | None = None, cwd: Path) -> subprocess.CompletedProcess:
    """A fresh Python, which finds what the tests find, and besides modules in `path`."""
    places = [*filter(None, [path, *sys.path]), Path(__file__).parent]
    places = [place for place in places if path is not None or "code" not in Path(place).parts]
    return subprocess.run(
        [sys.executable, "-P", *arguments], cwd=cwd, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, places))},
    )  # fmt: skip


def cli(*arguments: object, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess:
    return python("-m", "lumpylens.cli", *map(str, arguments), path=path, cwd=cwd)


def trained(detector: str, out: Path | None = None) -> TrainedModel:
    return train(blobs(120, seed=0), detector, out=out, progress=False)


# -- module:Class -----------------------------------------------------------------------------


def test_a_class_is_named_by_its_module(module, tmp_path):
    model = trained(f"{module}:Halo", tmp_path / "model")
    assert model.detector.name == module
    config = tomllib.loads((tmp_path / "model" / "config.toml").read_text())
    assert config["detector"] == f"{module}:Halo"
    card = (tmp_path / "model" / "card.md").read_text()
    assert f"--detector {module}:Halo" in card
    assert re.search(r"Of \d+ normal test images [\d.]+% lie above the threshold", card)
    fresh = blobs(5, seed=1)
    np.testing.assert_array_equal(
        load_model(tmp_path / "model").detector.anomaly_score(fresh),
        model.detector.anomaly_score(fresh),
    )
    assert info(tmp_path / "model")["detector"] == module


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("", "{}_:Halo", "no module called own_module_.*_: install it, or go to the folder"),
        ("", "{}.part:Halo", "no module called"),
        ("", "{}:Halo", "has no Halo"),
        ("Halo = print", "{}:Halo", "is no subclass of lumpylens.Detector"),
        ("import no_such_package", "{}:Halo", "cannot import .*: No module named 'no_such_p"),
        ("1 /\n", "{}:Halo", "cannot import own_module_.*: SyntaxError"),
        ("raise RuntimeError('two\\nlines')", "{}:Halo", "RuntimeError: two lines"),
        ("", "{}:Halo.part", "is not of the form module:Class"),
        ("", ":Halo", "':Halo' is not of the form module:Class"),
        (
            "from lumpylens import Detector\nclass Halo(Detector):\n    name = 'halo'\n"
            "    def _arrays(self): return {{}}",
            "{}:Halo",
            "is not a whole detector: it lacks _fit, _restore, _score_batch$",
        ),
        (HALO.replace("name = {name!r}", "name = None"), "{}:Halo", "needs a name"),
    ],
)
def test_what_is_no_detector_is_refused_in_one_line(code, name, said, folder):
    module = written(folder, code)
    with pytest.raises(ModelError, match=said) as refused:
        create(name.format(module))
    assert "\n" not in str(refused.value)


def test_an_unknown_name_says_how_to_give_an_own_one():
    with pytest.raises(ModelError, match=r"did you mean pca\?.*one of your own is module:Class"):
        create("pcaa")


def test_a_subclass_of_a_detector_that_ships_is_not_taken_for_it(folder, tmp_path):
    code = "from lumpylens.detectors.pca import PCADetector\nclass Mine(PCADetector): pass"
    module = written(folder, code)
    detector = create(f"{module}:Mine", max_components=3).fit(blobs(40, seed=0))
    assert detector.name == "pca"
    save_model(TrainedModel(detector, Calibration([1.0]), {}), tmp_path / "model")
    assert type(load_model(tmp_path / "model").detector) is type(detector)


def test_a_class_that_no_name_finds_is_not_saved(tmp_path):
    class Hidden(detector_class("pca")):
        name = "hidden"

    detector = Hidden(max_components=3).fit(blobs(40, seed=0))
    with pytest.raises(ModelError, match="<locals>.Hidden cannot be found again"):
        save_model(TrainedModel(detector, Calibration([1.0]), {}), tmp_path / "model")


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"anomaly_score": np.ones(1)}, r"Odd._score_batch: anomaly_score has shape \(1,\) for 7"),
        ({"anomaly_score": 1.0}, r"anomaly_score has shape \(\) for 7 images"),
        ({"components": {}}, "the components lack 'part'"),
        ({"components": {"part": np.ones((7, 1))}}, r"part has shape \(7, 1\)"),
        ({"warning": ["", ""]}, "warning has 2 texts for 7 images"),
        ({"error": [""] * 8}, "error has 8 texts"),
    ],
)
def test_scores_of_another_shape_are_not_spread_over_a_batch(result, said):
    class Odd(Detector):
        name = "odd"
        components = ("part",)

        def _fit(self, images, validation, run):
            pass

        def _score_batch(self, batch):
            good = {"anomaly_score": np.ones(len(batch)), "components": {"part": np.ones(7)}}
            return BatchScores(**good | (result if len(batch) == 7 else {}))

        def _arrays(self):
            return {}

        def _restore(self, arrays):
            pass

    detector = Odd()
    detector.image_shape, detector.domain = (24, 24), create("pca").fit(blobs(20, 0)).domain
    with pytest.raises(ModelError, match=said):
        detector.score(blobs(7, seed=0))


# -- entry points -----------------------------------------------------------------------------


def test_an_installed_package_offers_detectors_by_name(module, folder, tmp_path):
    offer(folder, "halo-finder", **{module: f"{module}:Halo"})
    assert list_detectors()[-1] == module
    found = info()
    assert found["detectors"][module] == f"{module}:Halo of halo-finder 1.5"
    assert module in repr(found)
    assert module not in sys.modules
    model = trained(module, tmp_path / "model")
    assert 'detector = "own_module' in (tmp_path / "model" / "config.toml").read_text()
    assert name_for_file(type(model.detector)) == module
    code = "import lumpylens; print(type(lumpylens.load_model('model').detector).__name__)"
    done = python("-c", code, path=folder, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("Halo\n", "")


def test_a_model_from_before_its_package_had_an_entry_point_is_loaded(module, folder, tmp_path):
    trained(f"{module}:Halo", tmp_path / "model")
    offer(folder, "halo-finder", **{module: f"{module}:Halo"})
    code = "import lumpylens; print(type(lumpylens.load_model('model').detector).__name__)"
    assert python("-c", code, path=folder, cwd=tmp_path).stdout == "Halo\n"


def test_names_that_ship_win(module, folder):
    offer(folder, "halo-finder", pca=f"{module}:Halo")
    assert list_detectors().count("pca") == 1
    said = f"pca is the detector that comes with lumpylens; .* halo-finder is called {module}:Halo"
    with pytest.warns(DataWarning, match=said):
        detector = create("pca")
    assert type(detector).__module__ == "lumpylens.detectors.pca"
    assert module not in sys.modules


def test_of_two_packages_with_one_name_the_user_chooses(module, folder):
    for package in ("halo-finder", "other-halos"):
        offer(folder, package, **{module: f"{module}:Halo"})
    with pytest.raises(ModelError, match="halo-finder and other-halos both|other-halos and halo"):
        create(module)
    assert create(f"{module}:Halo").name == module


def test_mistakes_of_a_package_are_said_to_be_its_own(module, folder):
    offer(folder, "halo-finder", other=f"{module}:Halo", gone=f"{module}:Gone", odd=module)
    for name, said in (
        ("other", f"halo-finder offers a detector as other, but it calls itself {module}"),
        ("gone", f"gone of the package halo-finder: the module {module} has no Gone"),
        ("odd", f"odd of the package halo-finder: '{module}' is not of the form module:Class"),
    ):
        with pytest.raises(ModelError, match=said):
            create(name)


# -- models from strangers --------------------------------------------------------------------


def renamed(model: Path, detector: str) -> Path:
    config = (model / "config.toml").read_text()
    before = next(line for line in config.splitlines() if line.startswith("detector = "))
    (model / "config.toml").write_text(config.replace(before, f'detector = "{detector}"'))
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    train(blobs(120, seed=0), "pca", out=folder, settings={"max_components": 3}, progress=False)
    return folder


@pytest.mark.parametrize("name", ["os:system", "subprocess:Popen", "lumpylens:fit", "{}:Trap",
                                  "{}.inner:Trap"])  # fmt: skip
def test_a_model_imports_nothing(name, folder, saved):
    code = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\nTrap = print"
    module = written(folder, code)
    name = name.format(module)
    before = set(sys.modules)
    with pytest.raises(ModelError) as refused:
        load_model(renamed(saved, name))
    assert set(sys.modules) == before
    assert not list(folder.glob("*.ran"))
    imported = name.partition(":")[0]
    assert str(refused.value) == (
        f"{saved}/config.toml names the detector {name!r}: nothing is imported because a model "
        "says so; if you trust that code, import it first "
        f"(in Python: import {imported}; else: lumpylens --import {imported} ...)"
    )


@pytest.mark.parametrize("name", ["os.system", "os:system()", "../x:Halo", "a:b:c", "os:path.join"])
def test_what_is_no_name_of_a_class_is_refused(name, saved):
    with pytest.raises(ModelError, match=r"names the detector .*: there is none of that name"):
        load_model(renamed(saved, name))


def test_a_class_of_a_notebook_must_be_defined_first(saved):
    with pytest.raises(ModelError, match="define it here first"):
        load_model(renamed(saved, "__main__:Halo"))


def test_half_a_detector_is_refused(saved):
    name = "lumpylens.detectors.paper.reconstruction:ReconstructionDetector"
    create("dcae")  # imports that
    with pytest.raises(ModelError, match="is not a whole detector"):
        load_model(renamed(saved, name))


def test_a_class_that_was_defined_again_is_the_last_one(module, tmp_path):
    trained(f"{module}:Halo", tmp_path / "model")
    first = sys.modules.pop(module)
    assert type(load_model(tmp_path / "model").detector) is first.Halo
    second = detector_class(f"{module}:Halo")
    assert second is not first.Halo
    assert type(load_model(tmp_path / "model").detector) is second


@pytest.mark.slow
def test_the_command_line_imports_what_its_user_names(module, folder, tmp_path):
    images = tmp_path / "images.npy"
    np.save(images, blobs(120, seed=0))
    made = cli("train", images, "--detector", f"{module}:Halo", "--out", tmp_path / "model",
               "--quiet", cwd=folder)  # fmt: skip
    assert made.returncode == 0, made.stderr
    refused = cli("info", tmp_path / "model", cwd=folder)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"lumpylens --import {module}" in refused.stderr
    for verb in (("info", tmp_path / "model"), ("score", tmp_path / "model", images, "--quiet")):
        done = cli("--import", module, *verb, cwd=folder)
        assert done.returncode == 0, done.stderr
    wrong = cli("--import", "no_such_module", "info", cwd=folder)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("lumpylens: no module called no_such_module")


@pytest.mark.parametrize(("options", "entered"), [([], []), (["--import", "json"], ["{cwd}"])])
def test_the_working_folder_is_searched_last_and_only_for_a_user_s_module(
    options, entered, tmp_path
):
    code = (
        "import sys; from lumpylens.cli import app; before = list(sys.path)\n"
        f"app({[*options, 'info']}, standalone_mode=False)\n"
        f"assert sys.path == before + {[text.format(cwd=tmp_path) for text in entered]}"
    )
    done = python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_worker_imports_what_the_user_s_process_did(module, folder, tmp_path):
    trained(f"{module}:Halo", tmp_path / "model")
    np.save(tmp_path / "shard.npy", blobs(5, seed=1))
    digest = model_digest(tmp_path / "model")
    task = ScoreTask(
        str(tmp_path / "shard.npy"), str(tmp_path / "model"), digest, str(tmp_path),
        detector=f"{module}:Halo",
    )  # fmt: skip
    code = f"from lumpylens.scale.shards import ScoreTask\nprint({task!r}.run())"
    done = python("-c", code, path=folder, cwd=tmp_path)
    assert done.stdout == "True\n", done.stderr


def test_names_are_public():
    assert lumpylens.list_detectors is list_detectors
