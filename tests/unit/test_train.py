"""`train`: what it keeps apart, what it refuses, what it leaves behind."""

from __future__ import annotations

import numpy as np
import pytest
from mean_detector import MeanDetector
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.data.splits import contained, digests_of, split
from lumpylens.errors import DataError, LumpylensError, ModelError
from lumpylens.store.folder import load_model
from lumpylens.verbs.train import train

pytestmark = pytest.mark.usefixtures("mean_detector")


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(1).normal(size=(400, 6, 9)).astype(np.float32)


def learn(data, **options):
    return train(data, "mean", progress=False, **options)


def test_returns_what_it_writes(pixels, tmp_path):
    model = learn(pixels, out=tmp_path / "model", seed=4, settings={"weight": 2.0})
    back = load_model(tmp_path / "model")
    np.testing.assert_array_equal(
        back.detector.anomaly_score(pixels), model.detector.anomaly_score(pixels)
    )
    assert back.card == model.card
    assert (back.detector.config.seed, back.detector.config.weight) == (4, 2.0)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_parts_are_kept_apart(pixels):
    images = LensImages.from_arrays(pixels)
    parts, model = split(images), learn(pixels)
    assert sorted(model.seen) == ["calibration", "train", "validation"]
    seen = np.concatenate(list(model.seen.values()))
    assert not contained(digests_of(parts.test)[0], seen).any()
    assert contained(digests_of(parts.train)[0], model.seen["train"]).all()
    np.testing.assert_allclose(
        model.calibration.scores, np.sort(model.detector.anomaly_score(parts.calibration))
    )
    np.testing.assert_allclose(
        model.detector.mean, parts.train.stack().pixels.mean(axis=0), atol=1e-6
    )


def test_calibration_images_set_the_thresholds(pixels, tmp_path, monkeypatch):
    """Of the detector and of its fast score, as trained and as loaded."""
    fit, restore = MeanDetector._fit, MeanDetector._restore

    def with_fast_score(self, learn, given):
        learn(self, *given)
        self.quick = MeanDetector(weight=3.0)
        self.quick.image_shape, self.quick.domain = self.image_shape, self.domain
        self.quick.mean = self.mean + 1

    monkeypatch.setattr(MeanDetector, "_fit", lambda self, *a: with_fast_score(self, fit, a))
    monkeypatch.setattr(
        MeanDetector, "_restore", lambda self, *a: with_fast_score(self, restore, a)
    )
    monkeypatch.setattr(MeanDetector, "fast", lambda self: getattr(self, "quick", None))
    trained = learn(pixels, out=tmp_path / "model")
    for model in (trained, load_model(tmp_path / "model")):
        for one in (model, model.fast()):
            assert one.detector.offset_ == -one.calibration.threshold(0.05)
        assert model.fast().detector.offset_ < model.detector.offset_ < 0
    assert model.fast().calibration.scores[0] > trained.calibration.scores[-1]


def test_one_in_twenty_normals_is_called_anomalous(pixels):
    model = learn(pixels)
    fresh = np.random.default_rng(2).normal(size=(2000, 6, 9)).astype(np.float32)
    assert 0.005 < (model.detector.predict(fresh) == -1).mean() < 0.15
    normal = model.info["normal"]
    assert normal["nominal_false_alarm_rate"] == 0.05
    assert normal["test_images"] == model.info["images"]["test"]


def test_few_calibration_images_give_the_finest_threshold_there_is(pixels):
    model = learn(pixels[:100])
    n = len(model.calibration)
    assert n < 19
    assert model.info["normal"]["nominal_false_alarm_rate"] == 1 / (n + 1)


def test_the_card_says_what_was_learned_and_names_no_home_folder(pixels, tmp_path):
    folder = tmp_path / "home" / "anne" / "lenses"
    folder.mkdir(parents=True)
    np.save(folder / "smooth.npy", pixels)
    model = learn(folder / "smooth.npy", settings={"weight": 3.0}, out=tmp_path / "m")
    for words in (
        "Distance to the mean image.",
        "lenses/smooth.npy",
        "--set weight=3.0",
        "6x9 pixels",
        f"{len(model.calibration)} calibration images",
        "numpy",
    ):
        assert words in model.card
    stored = (tmp_path / "m" / "config.toml").read_text() + model.card
    assert "anne" not in stored
    assert str(tmp_path) not in stored


def test_both_classes_are_refused_with_the_folder_to_use(tmp_path):
    for name in ("no_sub", "sub"):
        (tmp_path / name).mkdir()
        for k in range(3):
            noise = np.random.default_rng(k).integers(0, 255, (8, 8), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / name / f"{k}.png")
    with pytest.raises(DataError, match=r"learns from normal images alone; train on .*no_sub"):
        learn(tmp_path, out=tmp_path / "out" / "model")
    assert not (tmp_path / "out").exists()


def class_folders(root, **counts):
    """One npy file for each image, in one folder for each class."""
    seed = np.random.default_rng(0)
    for name, count in counts.items():
        for k in range(count):
            place = root / name / f"{k}.npy"
            place.parent.mkdir(parents=True, exist_ok=True)
            np.save(place, seed.normal(size=(6, 9)))
    return root


@pytest.mark.parametrize(
    ("counts", "advised"),
    [
        ({"no_sub": 90, "cdm": 25, "axion": 25}, "train on .*/no_sub instead"),
        ({"no_sub": 120, "cdm": 1}, "train on .*/no_sub instead"),
        ({"good": 90, "bad": 25}, "several folders .good 90, bad 25.*train on .*/good instead"),
        ({"no": 90, "sphere": 25, "vort": 25}, "train on .*/no instead"),
        ({"0": 90, "1": 25}, "name the folder or file of normal ones"),
        ({".": 90, "doubtful": 25}, "several folders .[.] 90, doubtful 25"),
        ({"train/no_sub": 90, "train/cdm": 9, "val/no_sub": 9}, "train on .*/train/no_sub instead"),
    ],
)
def test_class_folders_are_never_merged(counts, advised, tmp_path):
    folder = class_folders(tmp_path / "lenses", **counts)
    with pytest.raises(DataError, match=advised):
        learn(folder)
    with pytest.raises(DataError, match="learns from normal images alone"):
        MeanDetector().fit(LensImages.open(folder))
    name = max(counts, key=counts.get)
    if name != ".":
        assert MeanDetector().fit(LensImages.open(folder / name)).image_shape == (6, 9)


def test_folders_of_normal_images_and_one_folder_for_each_lens_are_no_classes(tmp_path):
    nights = class_folders(tmp_path / "no_sub", night1=60, night2=60)
    assert learn(nights).info["images"]["found"] == 120
    lenses = class_folders(tmp_path / "lenses", **{f"lens{k}": 1 for k in range(120)})
    assert learn(lenses).info["images"]["found"] == 120


def test_only_images_that_are_labelled_normal_may_be_taken(pixels, tmp_path):
    images = LensImages.from_arrays(pixels, labels=[0] * 150 + [1] * 150 + [-1] * 100)
    with pytest.raises(DataError, match=r"learns from normal images alone; with normal_only"):
        learn(images)
    model = learn(images, normal_only=True)
    assert model.info["images"]["found"] == 150
    assert "--normal-only" in model.info["command"]
    same = learn(pixels[:150])
    np.testing.assert_array_equal(model.calibration.scores, same.calibration.scores)
    with pytest.raises(DataError, match=r"none of 400 images of memory is labelled normal"):
        learn(pixels, normal_only=True)


def test_a_stack_called_no_sub_is_not_merged_with_others(pixels, tmp_path):
    np.save(tmp_path / "no_sub.npy", pixels[:120])
    np.save(tmp_path / "cdm.npy", pixels[120:150])
    with pytest.raises(DataError, match="30 of 150 .* unlabelled .*train on .*/no_sub.npy instead"):
        learn(tmp_path)
    assert learn(tmp_path / "no_sub.npy").info["images"]["found"] == 120
    (tmp_path / "no_sub.npy").rename(tmp_path / "part_1.npy")
    (tmp_path / "cdm.npy").rename(tmp_path / "part_2.npy")
    assert learn(tmp_path).info["images"]["found"] == 150


def test_too_few_images_are_refused_and_leave_nothing(pixels, tmp_path):
    copies = np.concatenate([pixels[:99], pixels[:50]])
    with pytest.raises(DataError, match=r"^99 different images in .* too few .* at least 100$"):
        learn(copies, out=tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_the_calibration_will_tell_is_said_before_training(pixels, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(MeanDetector, "_fit", stopped)
    for images, rates in ((pixels[:100], ["0.05", "0.01"]), (pixels, ["0.01"])):
        n = len(split(LensImages.from_arrays(images)).calibration)
        with pytest.raises(KeyboardInterrupt):
            train(images, "mean")
        said = capsys.readouterr().err
        assert f"{n} images are kept for calibration: no p-value will be below 1/{n + 1} " in said
        for rate, needed in (("0.05", "19 of them, about 190"), ("0.01", "99 of them, about 990")):
            assert (f"rate of {rate} needs {needed} images in total" in said) == (rate in rates)


def test_unreadable_images_are_counted_and_the_rest_goes_on(pixels, tmp_path):
    damaged = pixels.copy()
    damaged[:7, 2, 2] = np.nan
    model = learn(damaged)
    assert model.info["images"]["found"] == 400
    assert model.info["images"]["unreadable"] == 7
    assert "7 unreadable" in model.card
    damaged[:300] = 0
    with pytest.raises(DataError, match="300 of 400 images .* constant"):
        learn(damaged)


def test_mistakes_show_before_the_images_are_read(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise AssertionError("images were read")

    monkeypatch.setattr(LensImages, "open", unreachable)
    for options, said in (
        ({"detector": "meen"}, "did you mean mean"),
        ({"settings": {"wait": 1}}, "unknown setting"),
        ({"device": "gpu"}, "no device"),
    ):
        with pytest.raises(ModelError, match=said):
            train(tmp_path, **{"detector": "mean", "progress": False, **options})


def test_a_foreign_folder_is_refused_before_training(pixels, tmp_path, monkeypatch):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("mine")
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(MeanDetector, "_fit", None)
    for place in ("thesis", "file", "file/below"):
        with pytest.raises(LumpylensError):
            learn(pixels, out=tmp_path / place)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["chapter.tex", "file", "thesis"]


def test_a_killed_run_leaves_its_checkpoints_and_no_model(pixels, tmp_path, monkeypatch):
    fit, resumed = MeanDetector._fit, []

    def killed(self, images, validation, run):
        (run.folder / "last.ckpt").write_text("half")
        raise KeyboardInterrupt

    def go_on(self, images, validation, run):
        resumed.append((run.resume, (run.folder / "last.ckpt").read_text()))
        fit(self, images, validation, run)

    monkeypatch.setattr(MeanDetector, "_fit", killed)
    with pytest.raises(KeyboardInterrupt):
        learn(pixels, out=tmp_path / "model")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.run"]
    monkeypatch.setattr(MeanDetector, "_fit", go_on)
    learn(pixels, out=tmp_path / "model", resume=True)
    assert resumed == [(True, "half")]
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_only_the_first_of_several_processes_writes(pixels, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    learn(pixels, out=tmp_path / "model", devices=2)
    assert not (tmp_path / "model").exists()
