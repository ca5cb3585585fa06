"""Models as single files: they score as before, hold nothing pickled and name no machine."""

from __future__ import annotations

import builtins
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mean_detector import MeanDetector

import lumpylens
from lumpylens.detectors import Detector, create
from lumpylens.errors import DataError, ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.export import ABOUT, export

SHAPE = (9, 12)


def images(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = random.normal(size=(count, 4)) @ np.random.default_rng(0).normal(size=(4, 108))
    noisy = smooth + 0.1 * random.normal(size=smooth.shape)
    return (100 * noisy - 30).reshape(-1, *SHAPE).astype(np.float32)


def trained(detector: Detector) -> TrainedModel:
    detector.fit(images(60, 1))
    seen = {"train": np.arange(32, dtype=np.uint8).reshape(2, 16)}
    calibration = Calibration(detector.anomaly_score(images(20, 2)))
    return TrainedModel(detector, calibration, seen, "# A card µ\n", {"data": "lenses/normal"})


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    return trained(create("pca", max_components=4))


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_one_file_is_the_whole_model(model, tmp_path, monkeypatch):
    file = lumpylens.export(model, out=tmp_path / "one.safetensors")
    loaded = load_model(file)
    fresh = images(7, 3)
    np.testing.assert_array_equal(
        loaded.detector.anomaly_score(fresh), model.detector.anomaly_score(fresh)
    )
    np.testing.assert_array_equal(loaded.calibration.scores, model.calibration.scores)
    np.testing.assert_array_equal(loaded.seen["train"], model.seen["train"])
    assert (loaded.card, loaded.info) == (model.card, model.info)
    assert loaded.detector.config == model.detector.config
    table = lumpylens.score(file, fresh, progress=False)
    assert np.isfinite(table.p_value).all()
    # It is a file of arrays to any reader of the format.
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(file)["detector/mean"], model.detector.mean)


def test_a_file_that_holds_no_model_is_named(model, tmp_path):
    folder = save_model(model, tmp_path / "model")
    bare = folder / "model.safetensors"
    with pytest.raises(ModelError, match=r"arrays but no settings; give the model's folder"):
        load_model(bare)
    whole = export(folder, out=tmp_path / "one.safetensors").read_bytes()
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(whole[:-40])
    with pytest.raises(ModelError) as caught:
        load_model(damaged)
    assert "damaged" in one_line(caught)
    # A changed number is found by the digest, and the message names the file, not a temporary one.
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ModelError, match="digests differ") as caught:
        load_model(damaged)
    assert one_line(caught).startswith(str(damaged))


def test_a_graph_scores_as_the_detector_does(model, tmp_path):
    import torch

    file = export(model, out=tmp_path / "model.pt2")
    told = {ABOUT: ""}
    with file.open("rb") as stream:
        program = torch.export.load(stream, extra_files=told)
    for count in (1, 5):
        fresh = images(count, 4)
        found = program.module()(torch.from_numpy(fresh)).numpy()
        assert found.shape == (count,)
        np.testing.assert_allclose(found, model.detector.anomaly_score(fresh), rtol=1e-5)
    about = json.loads(told[ABOUT])
    assert about["detector"] == "pca"
    assert about["input"].endswith("any linear scale")
    np.testing.assert_array_equal(about["calibration_scores"], model.calibration.scores)


def test_a_graph_holds_no_pickle_and_no_path(model, tmp_path):
    file = export(model, out=tmp_path / "model.pt2")
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            content = archive.read(entry)
            name = entry.filename.rpartition("/")[2]
            assert not (name.endswith((".pt", ".pkl")) and content), entry.filename
            assert str(Path(lumpylens.__file__).parent).encode() not in content


def test_the_detector_stays_as_it_was(model, tmp_path):
    network = trained(create("dcae", latents=4, max_epochs=1)).detector
    before = network.anomaly_score(images(3, 5))
    strides = [value.stride() for value in network.network.state_dict().values()]
    network.network.train()
    export(TrainedModel(network, model.calibration, {}), out=tmp_path / "m.pt2")
    assert network.network.training
    assert [value.stride() for value in network.network.state_dict().values()] == strides
    assert all(p.requires_grad for p in network.network.parameters())
    np.testing.assert_array_equal(network.anomaly_score(images(3, 5)), before)


def test_the_format_follows_from_the_file_and_the_file_from_the_format(
    model, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    save_model(model, tmp_path / "mine")
    assert export("mine", format="safetensors") == Path("mine.safetensors")
    assert export("mine", out="sub/other.SAFETENSORS") == Path("sub/other.SAFETENSORS")
    assert export("mine.safetensors", format="pt2") == Path("mine.pt2")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine", "mine.pt2", "mine.safetensors", "sub"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"out": "model.pickle"}, "no format called 'pickle'"),
        ({"format": "tf"}, "safetensors, pt2, onnx"),
        ({"out": "model"}, "no format is given"),
        ({}, "no format is given"),
    ],
)
def test_an_unknown_format_is_refused(model, arguments, said):
    with pytest.raises(ModelError) as caught:
        export(model, **arguments)
    assert said in one_line(caught)


def test_a_place_that_cannot_be_written_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        export(model, out=tmp_path / "file" / "model.pt2")


@pytest.mark.usefixtures("mean_detector")
def test_what_has_no_form_as_a_graph_says_so(tmp_path):
    with pytest.raises(ModelError, match="mean cannot be exported") as caught:
        export(trained(MeanDetector()), out=tmp_path / "mean.pt2")
    one_line(caught)
    assert not list(tmp_path.iterdir())
    assert load_model(export(trained(MeanDetector()), out=tmp_path / "m.safetensors"))


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_its_extra(model, tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *rest, **more):
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError) as caught:
        export(model, out=tmp_path / "model.onnx")
    assert f"needs {missing}: pip install 'lumpylens[onnx]' (in a clone '.[onnx]')" in one_line(
        caught
    )


def test_pickled_parts_of_older_torch_are_refused(model, tmp_path, monkeypatch):
    import torch

    def old(program, stream, extra_files):
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("serialized_state_dict.pt", b"PK\x03\x04" + bytes(30))

    monkeypatch.setattr(torch.export, "save", old)
    with pytest.raises(ModelError, match="upgrade torch, or export to onnx"):
        export(model, out=tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())
