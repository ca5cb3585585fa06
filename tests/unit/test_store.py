"""The model folder: what goes in comes out, and what is damaged is named in one line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mean_detector import MeanDetector

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, LumpylensError, ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.store import layout as store
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel

pytestmark = pytest.mark.usefixtures("mean_detector")


@pytest.fixture
def images() -> LensImages:
    return LensImages.from_arrays(np.random.default_rng(0).random((20, 6, 9)))


@pytest.fixture
def model(images) -> TrainedModel:
    detector = MeanDetector(weight=2.5).fit(images)
    detector.offset_ = -0.1 / 3
    return TrainedModel(
        detector,
        Calibration(detector.anomaly_score(images)),
        {"train": np.arange(32, dtype=np.uint8).reshape(2, 16)},
        "# A card\n",
        {"seed": 3, "split": {"train": 16, "test": None}, "data": 'a "b" \\ µ'},
    )


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_goes_in_comes_out(model, images, tmp_path):
    folder = save_model(model, tmp_path / "deep" / "model")
    back = load_model(folder)
    np.testing.assert_array_equal(
        back.detector.anomaly_score(images), model.detector.anomaly_score(images)
    )
    np.testing.assert_array_equal(back.detector.predict(images), model.detector.predict(images))
    np.testing.assert_array_equal(back.calibration.scores, model.calibration.scores)
    np.testing.assert_array_equal(back.seen["train"], model.seen["train"])
    assert back.seen["train"].dtype == np.uint8
    assert back.detector.config == model.detector.config
    assert back.detector.history == model.detector.history
    assert back.detector.image_shape == (6, 9)
    assert back.detector.offset_ == model.detector.offset_
    np.testing.assert_array_equal(back.detector.domain.low, model.detector.domain.low)
    assert back.detector.domain.one_value == model.detector.domain.one_value < 1
    assert back.card == model.card
    assert back.info == {"seed": 3, "split": {"train": 16}, "data": 'a "b" \\ µ'}
    assert load_model(back) is back


def test_same_model_same_bytes(model, tmp_path):
    first, second = save_model(model, tmp_path / "a"), save_model(model, tmp_path / "b")
    for name in (store.WEIGHTS, store.CONFIG, store.CARD):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_loaded_arrays_can_be_written(model, tmp_path):
    assert load_model(save_model(model, tmp_path / "m")).detector.mean.flags.writeable


def test_folder_moves(model, images, tmp_path):
    shutil.move(save_model(model, tmp_path / "here"), tmp_path / "there")
    moved = load_model(tmp_path / "there")
    assert np.isfinite(moved.detector.anomaly_score(images)).all()


def test_an_older_model_is_replaced_and_nothing_else(model, tmp_path):
    folder = save_model(model, tmp_path / "m")
    save_model(replace(model, card="# Another\n"), folder)
    assert load_model(folder).card == "# Another\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="notes.txt"):
        save_model(model, folder)
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("mine")
    with pytest.raises(LumpylensError, match="left as it is"):
        save_model(model, other)
    assert (other / "chapter.tex").read_text() == "mine"
    with pytest.raises(LumpylensError, match="is a file"):
        save_model(model, other / "chapter.tex")


def test_a_failed_save_leaves_the_older_model(model, tmp_path, monkeypatch):
    folder = save_model(model, tmp_path / "m")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="No space left"):
        save_model(model, folder)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
    assert (folder / store.WEIGHTS).is_file()


def test_an_untrained_detector_is_refused(model, tmp_path):
    with pytest.raises(ModelError, match="has not been trained"):
        save_model(replace(model, detector=MeanDetector()), tmp_path / "m")


def test_arrays_of_other_dtypes_are_refused(model, tmp_path):
    with pytest.raises(TypeError, match="complex"):
        save_model(replace(model, seen={"train": np.ones(3, complex)}), tmp_path / "m")


def test_foreign_byte_order_is_stored_natively(model, tmp_path):
    detector = model.detector
    detector.mean = detector.mean.astype(">f4")
    back = load_model(save_model(model, tmp_path / "m")).detector
    assert back.mean.dtype == np.dtype("float32")
    assert back.mean.dtype.isnative
    np.testing.assert_array_equal(back.mean, detector.mean)


def damage(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 9", "format 9, and lumpylens .* reads format 1"),
        ('detector = "mean"', 'detector = "means"', "none of that name"),
        ('detector = "mean"', 'detector = "../mean"', "none of that name"),
        ('detector = "mean"', "detector = [", "not valid TOML"),
        ("weight = 2.5", 'weight = "much"', "setting weight"),
        ("weight = 2.5", "wieght = 2.5", "did you mean weight"),
        ("offset = ", "ofset = ", "ofset"),
        ("image_shape = [\n    6,\n    9,\n]", "image_shape = [6, 8]", "image shape differ"),
        ("image_shape = [\n    6,\n    9,\n]", "image_shape = [6, -9]", "greater than 0"),
        ("float32[6,9]", "float32[9,6]", r"is float32\[6,9\], but .* lists float32\[9,6\]"),
        ('"detector/count"', '"detector/counts"', "is nothing, but config.toml lists int64"),
    ],
)
def test_a_changed_config_is_named(model, tmp_path, old, new, said):
    folder = save_model(model, tmp_path / "m")
    damage(folder, store.CONFIG, old, new)
    with pytest.raises(ModelError, match=said) as caught:
        load_model(folder)
    assert str(folder) in one_line(caught)


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_torn_weights_are_named(model, tmp_path, kept):
    folder = save_model(model, tmp_path / "m")
    whole = (folder / store.WEIGHTS).read_bytes()
    (folder / store.WEIGHTS).write_bytes(whole[:kept])
    with pytest.raises(ModelError, match="damaged") as caught:
        load_model(folder)
    one_line(caught)


def test_a_flipped_bit_is_named(model, tmp_path):
    folder = save_model(model, tmp_path / "m")
    content = bytearray((folder / store.WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / store.WEIGHTS).write_bytes(content)
    with pytest.raises(ModelError, match="digests differ"):
        load_model(folder)


def test_weights_of_another_model_are_named(model, images, tmp_path):
    folder = save_model(model, tmp_path / "m")
    model.detector.mean = model.detector.mean[:3]
    other = save_model(model, tmp_path / "other")
    shutil.copy(other / store.WEIGHTS, folder)
    with pytest.raises(ModelError, match=r"is float32\[3,9\], but .* lists float32\[6,9\]"):
        load_model(folder)


@pytest.mark.parametrize("name", [store.CONFIG, store.WEIGHTS])
def test_a_missing_file_is_named(model, tmp_path, name):
    folder = save_model(model, tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"no {name}"):
        load_model(folder)


@pytest.mark.parametrize("name", [store.CONFIG, store.WEIGHTS])
def test_absurd_sizes_are_refused_unread(model, tmp_path, name):
    folder = save_model(model, tmp_path / "m")
    with (folder / name).open("r+b") as file:
        file.truncate(5 * 2**30)
    with pytest.raises(ModelError, match="more than any model's"):
        load_model(folder)


def test_binary_config_is_named(model, tmp_path):
    folder = save_model(model, tmp_path / "m")
    (folder / store.CONFIG).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="is not text"):
        load_model(folder)


def test_list_models_are_found_by_name_alone(model, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    assert store.list_models() == []
    with pytest.raises(ModelError, match="^no model folder nowhere$"):
        load_model("nowhere")
    save_model(model, tmp_path / "models" / "slc-mean")
    (tmp_path / "models" / "rubbish").mkdir()
    assert store.list_models() == ["slc-mean"]
    assert load_model("slc-mean").detector.name == "mean"
    with pytest.raises(ModelError, match="come with lumpylens: slc-mean"):
        load_model("slc-meen")
    with pytest.raises(ModelError, match="no model folder"):
        load_model("../models/slc-mean/../slc-men")


def test_a_model_says_what_it_is_in_one_line(model):
    assert "\n" not in repr(model)
    assert f"calibrated on {len(model.calibration)}" in repr(model)
    assert len(repr(model)) < 120
