"""Model folders from strangers: nothing in them runs, leads out of them, or takes the memory."""

from __future__ import annotations

import hashlib
import pickle
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from mean_detector import MeanDetector
from safetensors.numpy import load, save

from lumpylens.data.images import LensImages
from lumpylens.detectors import create
from lumpylens.detectors.domain import Domain
from lumpylens.errors import ModelError
from lumpylens.results.calibration import Calibration
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return (Path.touch, (self.place,))


@pytest.fixture
def images() -> LensImages:
    return LensImages.from_arrays(np.random.default_rng(0).random((20, 12, 15)))


@pytest.fixture
def folder(images, tmp_path, mean_detector) -> Path:
    detector = MeanDetector().fit(images)
    calibration = Calibration(detector.anomaly_score(images))
    return save_model(TrainedModel(detector, calibration, {}, "# Card"), tmp_path / "model")


def pickled(place: Path) -> bytes:
    return pickle.dumps(Bomb(place))


def torch_file(place: Path) -> bytes:
    path = place.with_name("weights.pt")
    torch.save({"detector/mean": Bomb(place)}, path)
    return path.read_bytes()


def zipped(place: Path) -> bytes:
    path = place.with_name("weights.zip")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../escaped", "x")
    return path.read_bytes()


@pytest.mark.parametrize("content", [pickled, torch_file, zipped])
def test_weights_of_other_kinds_are_refused_and_run_nothing(content, folder, tmp_path):
    place = tmp_path / "exploded"
    (folder / "model.safetensors").write_bytes(content(place))
    (folder / "model.pkl").write_bytes(pickled(place))
    with pytest.raises(ModelError, match="is damaged"):
        load_model(folder)
    assert not place.exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.toml", "card.md"])
def test_links_do_not_lead_out_of_the_folder(name, folder, tmp_path):
    secret = tmp_path / "secret"
    (folder / name).rename(secret)
    (folder / name).symlink_to(secret)
    with pytest.raises(ModelError, match=f"{name} is a link that leads out of its folder"):
        load_model(folder)
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    if name == "card.md":
        assert load_model(folder).card == ""
        return
    with pytest.raises(ModelError, match=f"it has no {name}"):
        load_model(folder)


def test_a_link_to_the_whole_folder_is_fine(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    assert load_model(tmp_path / "linked").card == "# Card"


def with_digest(folder: Path, arrays: dict[str, np.ndarray], *changes: tuple[str, str]) -> None:
    """Rewrite a model as somebody would who wants it to be believed."""
    weights = save(arrays)
    (folder / "model.safetensors").write_bytes(weights)
    text = (folder / "config.toml").read_text()
    before = next(line for line in text.splitlines() if line.startswith("weights_sha256"))
    changes = ((before, f'weights_sha256 = "{hashlib.sha256(weights).hexdigest()}"'), *changes)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "config.toml").write_text(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("format = 1", "format = 1\nx = " + "[" * 5000 + "]" * 5000, "nested more deeply"),
        ('detector = "mean"', 'detector = "../../mean"', "names the detector"),
        ("[settings]", "[settings]\nself = 1", "config.toml: "),
        ("[settings]", "[settings]\nconfig = 1", "config.toml: "),
        ("[settings]", '[settings]\n"__class__" = "os.system"', "unknown setting"),
    ],
)
def test_settings_that_no_model_has_are_refused(old, new, said, folder):
    config = (folder / "config.toml").read_text()
    assert old in config
    (folder / "config.toml").write_text(config.replace(old, new, 1))
    with pytest.raises(ModelError, match=said):
        load_model(folder)


def test_absurd_image_shapes_are_refused(folder):
    config = tomllib.loads((folder / "config.toml").read_text())
    config["image_shape"] = [100_000, 100_000]
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    with pytest.raises(ModelError, match="image_shape: 100000x100000 pixels are too many"):
        load_model(folder)


def test_digests_of_seen_images_are_digests(folder):
    arrays = load((folder / "model.safetensors").read_bytes())
    arrays["seen/train"] = np.zeros((3, 4), np.uint8)
    with_digest(folder, arrays, ("[arrays]", '[arrays]\n"seen/train" = "uint8[3,4]"'))
    with pytest.raises(ModelError, match="seen/train is uint8\\[3,4\\], no digests"):
        load_model(folder)


def test_a_network_larger_than_its_weights_is_refused_before_it_is_made(images, tmp_path):
    detector = create("dcae", latents=3)
    detector.image_shape = (12, 15)
    detector.domain = Domain.learn(images.stack())
    detector.network = detector._network((12, 15))
    folder = save_model(TrainedModel(detector, Calibration([1.0]), {}), tmp_path / "model")
    assert load_model(folder).detector.network is not None
    config = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(config.replace("latents = 3", f"latents = {10**11}"))
    with pytest.raises(ModelError, match="a network of other layers"):
        load_model(folder)


def test_components_of_another_size_are_refused(images, tmp_path):
    detector = create("pca", max_components=3).fit(images)
    folder = save_model(TrainedModel(detector, Calibration([1.0]), {}), tmp_path / "model")
    arrays = load((folder / "model.safetensors").read_bytes())
    arrays["detector/mean"] = arrays["detector/mean"][:-1].copy()
    with_digest(folder, arrays, ('"float32[180]"', '"float32[179]"'))
    with pytest.raises(ModelError, match="components are not of 180 pixels"):
        load_model(folder)
