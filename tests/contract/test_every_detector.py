"""What every registered detector keeps: it learns, it detects, it repeats itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from lumpylens.data.images import LensImages
from lumpylens.detectors import DETECTORS, Detector, Run, create
from lumpylens.detectors.paper.reconstruction import ReconstructionDetector
from lumpylens.detectors.physics.detector import FIRST_BLUR
from lumpylens.detectors.physics.examination import read
from lumpylens.detectors.pixel.detector import PixelDetector
from lumpylens.detectors.pixel.network import PixelNetwork
from lumpylens.errors import DataError, ModelError
from lumpylens.physics.parameters import pack
from lumpylens.report.explained import draw_explanation
from lumpylens.report.style import LIGHT
from lumpylens.results.calibration import Calibration
from lumpylens.results.metrics import auc
from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.trained import TrainedModel

SHAPE = (30, 32)


@functools.cache
def rings(count: int, seed: int, planted: bool = False, shape=SHAPE) -> LensImages:
    """Rings around a spot, all a little different; a planted image has a second spot."""
    draw = np.random.default_rng(seed)
    y, x = (np.indices(shape).T - (np.array(shape) - 1) / 2).T
    images = []
    for _ in range(count):
        centre_x, centre_y = draw.uniform(-1, 1, 2)
        away = np.hypot(x - centre_x, y - centre_y)
        ring = np.exp(-np.square(away - draw.uniform(6.5, 7.5)) / 8)
        image = ring + draw.uniform(0.6, 0.8) * np.exp(-np.square(away) / 6)
        angle = draw.uniform(0, 2 * np.pi)
        if planted:
            spot = np.hypot(x - 11 * np.cos(angle), y - 11 * np.sin(angle))
            image = image + np.exp(-np.square(spot) / 4)
        images.append(image + 0.01 * draw.standard_normal(shape))
    return LensImages.from_arrays(np.array(images))


@functools.cache
def lenses(count: int, seed: int, planted: bool = False) -> LensImages:
    """Simulated lenses; a planted image has point masses in its halo."""
    return simulate("slc", count, seed=seed, substructure="points" if planted else None)


def untrained(detector: Detector) -> dict[str, np.ndarray]:
    """The weights that a network started from."""
    from lumpylens.training.loop import seeded

    if isinstance(detector, PixelDetector):
        assert detector.image_shape is not None
        with seeded(detector.config.seed):
            network = PixelNetwork(detector.config, detector.image_shape)
        return {f"network.{name}": x.detach().numpy() for name, x in network.named_parameters()}
    assert isinstance(detector, ReconstructionDetector)
    with seeded(detector.config.seed):
        network = detector._network(detector.image_shape)
    return {name: value.detach().numpy() for name, value in network.named_parameters()}


def unrefined(detector: Detector) -> dict[str, np.ndarray]:
    """The shared numbers that the `physics` detector starts from: its encoder's."""
    examiner = detector.examiner
    grey = examiner.unit.grey(lenses(CASES["physics"].count, 0).stack().pixels)
    unlearned = pack(log_psf_sigma_px=FIRST_BLUR)[0]
    seen = read(examiner.encoder, examiner.shape, grey, unlearned)
    return {"shared": seen.median(dim=0).values.numpy()}


def unread(detector: Detector) -> dict[str, np.ndarray]:
    """What the encoder reads on average where lenses are as its own training set has them."""
    return {"estimates.mean": detector.encoder.middle.double().numpy()}


@dataclass(frozen=True)
class Case:
    """How one detector is tried: small settings, and images that suit it."""

    settings: Mapping[str, Any]
    short: Mapping[str, Any] = field(default_factory=dict)
    """Settings for tests in which it need not detect."""
    images: Callable[..., LensImages] = rings
    """(count, seed, planted=False) -> images."""
    count: int = 150
    """Training images."""
    short_count: int = 40
    few: int = 20
    many: int = 80
    """Images scored where some will do, and where the answer is a statistic."""
    scale: tuple[float, float] = (1000.0, -300.0)
    """Factor and offset after which an image is still one that can be reconstructed."""
    losses: tuple[str, ...] = ("train_loss", "val_loss")
    """Recorded in the history."""
    learns_in_epochs: bool = True
    weights_before: Callable[[Detector], dict[str, np.ndarray]] | None = untrained
    least_auc: float = 0.85
    exported: frozenset[str] = frozenset({"pt2", "onnx"})
    """Formats that it can be written in beside safetensors; the others are refused."""


EPOCHS = {"max_epochs": 4, "batch_size": 16}
LONG = {"max_epochs": 25, "batch_size": 16, "learning_rate": 4e-3}
CLOSED_FORM: dict[str, Any] = {"losses": (), "learns_in_epochs": False, "weights_before": None}
CASES = {
    "physics": Case(
        {"sample": 20, "near_epochs": 0},
        images=lenses,
        count=40,
        short_count=12,
        few=8,
        many=24,
        scale=(1 / 255, 0.0),
        losses=("train_loss",),
        learns_in_epochs=False,
        weights_before=unrefined,
    ),
    "encoder": Case(
        {},
        images=lenses,
        count=60,
        short_count=30,
        few=8,
        many=24,
        scale=(1 / 255, 0.0),
        losses=(),
        learns_in_epochs=False,
        weights_before=unread,
    ),
    # Blots and spots as bright beside these rings as beside lenses.
    "pixel": Case(
        {"width": 8, "blot": 0.3, "spot": 0.1, "max_epochs": 25, "batch_size": 16},
        {"width": 2, **EPOCHS},
    ),
    "pca": Case({"max_components": 30}, **CLOSED_FORM),
    "ocsvm": Case({"n_components": 50}, **CLOSED_FORM),
    "dcae": Case({"latents": 16, **LONG}, {"latents": 8, **EPOCHS}),
    "vae": Case({"latents": 16, **LONG}, {"latents": 8, **EPOCHS}),
    "aae": Case({"latents": 16, **LONG}, {"latents": 8, **EPOCHS}),
    "rbm": Case({"hidden": 40, **LONG}, {"hidden": 10, **EPOCHS}),
}
SLOW = {"vae", "aae"}
"""Tried by `make test-all` only."""


def names(slow: set[str]) -> list[Any]:
    """The detectors, some of them tried by `make test-all` only."""
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in CASES]


NAMES = names(SLOW)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Bit-identical results are promised for one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=NAMES)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def fitted(case) -> Detector:
    """Trained once for all tests of this file."""
    return make(case).fit(case.images(case.count, 0), run=Run(device="cpu"))


@pytest.fixture(params=NAMES)
def short_case(request) -> Case:
    return CASES[request.param]


def make(case: Case, **settings: Any) -> Detector:
    name = next(name for name in CASES if CASES[name] is case)
    return create(name, **{**case.settings, **settings})


def make_short(case: Case) -> Detector:
    return make(case, **case.short)


def test_every_registered_detector_is_tried():
    assert set(CASES) == set(DETECTORS)


# -- it learns --------------------------------------------------------------------------------


def test_every_parameter_moved(case, fitted):
    if case.weights_before is None:
        other = make(case).fit(case.images(case.count, 50))
        for name, array in other._arrays().items():
            same = np.shape(array) == np.shape(fitted._arrays()[name])
            assert not same or not np.array_equal(array, fitted._arrays()[name]), name
        return
    after = fitted._arrays()
    for name, before in case.weights_before(fitted).items():
        assert np.isfinite(after[name]).all(), name
        assert not np.array_equal(before, after[name]), f"{name} did not learn"


def test_the_loss_fell(case, fitted):
    assert bool(fitted.history) == bool(case.losses)
    for kind in case.losses:
        losses = [row[kind] for row in fitted.history]
        assert np.mean(losses[-3:]) < losses[0]


def test_a_planted_anomaly_is_found(case, fitted):
    normal = fitted.score(case.images(case.many, 1))
    planted = fitted.score(case.images(case.many, 2, planted=True))
    assert set(normal.error) == set(planted.error) == {""}
    assert auc(normal.anomaly_score, planted.anomaly_score).value > case.least_auc


def test_equal_classes_give_one_half(case, fitted):
    first = fitted.anomaly_score(case.images(case.many, 3))
    second = fitted.anomaly_score(case.images(case.many, 4))
    found = auc(first, second, confidence=0.99)
    assert found.low < 0.5 < found.high


# -- it repeats itself ------------------------------------------------------------------------


def test_scores_differ_between_images_and_not_between_calls(case, fitted):
    import torch

    images = case.images(case.few, 5)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first = fitted.anomaly_score(images)
        torch.manual_seed(2)
        second = fitted.anomaly_score(images)
    assert len(np.unique(first)) == case.few
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("size", [1, 7])
def test_scores_do_not_depend_on_order_or_batch(case, fitted, size, monkeypatch):
    images = case.images(case.few, 5)
    expected = fitted.score(images)
    order = np.random.default_rng(0).permutation(case.few)
    monkeypatch.setattr(type(fitted), "batch_size", size)
    shuffled = fitted.score(images[order])
    np.testing.assert_allclose(shuffled.anomaly_score, expected.anomaly_score[order], rtol=1e-4)
    for part, values in expected.components.items():
        # A departure from the average may be zero.
        close = {"rtol": 1e-4, "atol": 1e-4 * np.std(values)}
        np.testing.assert_allclose(shuffled.components[part], values[order], **close)


def test_a_bad_image_is_a_row_and_harms_no_other(case, fitted):
    images = case.images(6, 5)
    pixels = images.stack().pixels.copy()
    pixels[2, 3, 3] = np.nan
    found = fitted.score(pixels)
    assert [bool(text) for text in found.error] == [False, False, True, False, False, False]
    assert np.isnan(found.anomaly_score[2])
    good = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(
        found.anomaly_score[good], fitted.anomaly_score(images)[good], rtol=1e-4
    )


def test_reconstructions_have_the_scale_of_the_image(case, fitted):
    factor, offset = case.scale
    pixels = np.float32(factor) * case.images(6, 5).stack().pixels + np.float32(offset)
    try:
        made = fitted.reconstruct(pixels)
    except ModelError:
        assert np.isnan(fitted.score(pixels).reconstruction_mse).all()
        return
    assert made.shape == pixels.shape
    assert np.abs(made - pixels).mean() < 0.1 * np.ptp(pixels, axis=(1, 2)).mean()


def test_larger_cutouts_are_scored_by_their_middle(case, fitted):
    pixels = case.images(3, 6).stack().pixels
    wide = np.pad(pixels, ((0, 0), (4, 4), (6, 6)), mode="edge")
    scores = fitted.score(wide)
    if fitted.domain.jpeg_table is not None:
        assert all("expected" in error for error in scores.error)
        return
    np.testing.assert_array_equal(scores.anomaly_score, fitted.score(pixels).anomaly_score)
    height, width = pixels.shape[1:]
    assert scores.remark.startswith(f"3 of 3 images have other sizes than {height}x{width} pixels")
    assert not fitted.score(pixels).remark


def test_every_score_can_be_explained(case, fitted):
    pixels = case.images(2, 5, planted=True).stack().pixels.copy()
    expected = fitted.score(pixels)
    one, other = fitted.explain(pixels)
    for k, found in enumerate((one, other)):
        assert found.id == str(k)
        assert found.sentence
        assert found.scores[0].value == pytest.approx(expected.anomaly_score[k], rel=1e-4)
        assert [part.name for part in found.scores[1:]] == list(fitted.components)
        assert draw_explanation(LIGHT, found).axes
        # A map of where, or the reason why there is none.
        assert bool(found.maps) != bool(found.no_map)
        assert bool(found.maps) == (found.peak is not None)
        for position_map in found.maps[:1]:
            assert np.isfinite(position_map.values).any()
            height, width = pixels.shape[1:]
            assert 0 <= found.peak.column_px < width
            assert 0 <= found.peak.row_px < height
        assert found.peak_words
        assert (found.model is None) == np.isnan(expected.reconstruction_mse[k])


# -- it can be kept ---------------------------------------------------------------------------


def test_arrays_hold_all_that_was_learned(case, fitted):
    images = case.images(case.few, 5)
    arrays = {name: np.array(array) for name, array in fitted._arrays().items()}
    for array in arrays.values():
        assert array.dtype.kind in "fiu"
        array.flags.writeable = False
    again = type(fitted)(fitted.config)
    again.image_shape, again.domain = fitted.image_shape, fitted.domain
    again._restore(arrays)
    np.testing.assert_array_equal(again.anomaly_score(images), fitted.anomaly_score(images))
    first, second = (one.explain(images[:1])[0].scores for one in (fitted, again))
    assert repr(first) == repr(second)


def test_saved_and_loaded_scores_are_identical(case, fitted, tmp_path):
    images = case.images(case.few, 5)
    scores = fitted.anomaly_score(images)
    model = TrainedModel(fitted, Calibration(scores), {}, card="\n".join(fitted.card_notes()))
    loaded = load_model(save_model(model, tmp_path / "model")).detector
    assert type(loaded) is type(fitted)
    said = [detector.explain(images[:1])[0].sentence for detector in (fitted, loaded)]
    assert said[0] == said[1]
    assert loaded.config == fitted.config
    np.testing.assert_array_equal(loaded.anomaly_score(images), scores)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_exported_scores_are_its_own(case, fitted, kind, tmp_path):
    """Where a detector has a fast score, that is the one exported."""
    from lumpylens.verbs.export import export

    quick = fitted.fast() or fitted
    fresh = case.images(case.few, 5).stack().pixels
    scores = quick.anomaly_score(fresh)
    calibration = Calibration(scores)
    model = TrainedModel(fitted, calibration, {}, fast_calibration=calibration)
    if kind not in case.exported:
        with pytest.raises(ModelError, match="cannot be exported"):
            export(model, out=tmp_path / f"model.{kind}")
        return
    file = export(model, out=tmp_path / f"model.{kind}")
    if kind == "pt2":
        import torch

        found = torch.export.load(file).module()(torch.from_numpy(fresh)).numpy()
    else:
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (found,) = session.run(["anomaly_score"], {"pixels": fresh})
    assert found.shape == scores.shape
    np.testing.assert_allclose(found, scores, rtol=1e-3, atol=1e-3 * np.std(scores))


# -- it keeps to normals, to its place and to scikit-learn ------------------------------------


def test_anomalies_are_refused(short_case):
    pixels = short_case.images(20, 6).stack().pixels
    labels = [0] * 15 + [1] * 5
    ids = [f"{'sub' if label else 'no_sub'}/{k}.jpg" for k, label in enumerate(labels)]
    mixed = LensImages.from_arrays(pixels, ids=ids, labels=labels)
    detector = make_short(short_case)
    with pytest.raises(DataError, match=r"5 of 20 .*sub/15\.jpg.* train on memory/no_sub instead"):
        detector.fit(mixed)
    with pytest.raises(DataError, match="normal images alone"):
        detector.fit(mixed[:15], validation=mixed[15:])
    with pytest.raises(ModelError, match="has not been trained"):
        detector.anomaly_score(mixed)


# The fit of `physics` draws nothing, and takes as long here as all other detectors together.
@pytest.mark.parametrize("short_case", names(SLOW | {"physics"}), indirect=True)
def test_fitting_twice_is_fitting_once(short_case):
    """The seed decides; global generators and an earlier fit do not, and are left alone."""
    import torch

    images, fresh = short_case.images(short_case.short_count, 6), short_case.images(8, 7)
    detector, states, scores = make_short(short_case), [], []
    with torch.random.fork_rng():
        for other in (1, 2):
            torch.manual_seed(other)
            torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
            detector.fit(images, run=Run(device="cpu"))
            assert torch.equal(torch.get_rng_state(), torch_before)
            np.testing.assert_equal(np.random.get_state(), numpy_before)  # noqa: NPY002
            states.append(learned(detector))
            scores.append(detector.anomaly_score(fresh))
            detector.left_over = "from this fit"
    np.testing.assert_equal(states[1], states[0])
    assert not [name for name in states[0]["names"] if name.startswith("_")], "kept by _forget"
    np.testing.assert_array_equal(*scores)


def learned(detector: Detector) -> dict[str, Any]:
    """All that a fit leaves behind, but for the time it took."""
    return {
        "names": sorted(vars(detector)),
        "history": [
            {name: value for name, value in row.items() if "seconds" not in name}
            for row in detector.history
        ],
        "offset": [each.offset_ for each in (detector, detector.fast()) if each is not None],
        "arrays": {name: np.array(array) for name, array in detector._arrays().items()},
    }


@pytest.mark.parametrize("shape", [(9, 9), (41, 64)])
def test_any_image_size(short_case, shape):
    if short_case.images is not rings:
        pytest.skip("its encoder ships for one size, and learns any other in minutes")
    detector = make_short(short_case).fit(rings(30, 8, shape=shape), run=Run(device="cpu"))
    assert np.isfinite(detector.anomaly_score(rings(5, 9, shape=shape))).all()


class Killed(Exception):
    """Stands for a power cut."""


def test_a_resumed_run_equals_an_unbroken_one(short_case, tmp_path, monkeypatch):
    if not short_case.learns_in_epochs:
        pytest.skip("it does not learn in epochs")
    from lumpylens.training.lightning import EpochRecord

    images, fresh = short_case.images(short_case.short_count, 6), short_case.images(8, 7)
    unbroken = make_short(short_case).fit(images, run=Run(tmp_path / "unbroken", device="cpu"))
    with monkeypatch.context() as patch:
        end_epoch = EpochRecord.on_train_epoch_end

        def killed_in_the_third(record, trainer, loop):
            if len(record.history) == 2:
                raise Killed
            end_epoch(record, trainer, loop)

        patch.setattr(EpochRecord, "on_train_epoch_end", killed_in_the_third)
        with pytest.raises(Killed):
            make_short(short_case).fit(images, run=Run(tmp_path / "broken", device="cpu"))
    resumed = make_short(short_case).fit(
        images, run=Run(tmp_path / "broken", device="cpu", resume=True)
    )
    assert [row["val_loss"] for row in resumed.history] == [
        row["val_loss"] for row in unbroken.history
    ]
    for name, array in unbroken._arrays().items():
        np.testing.assert_array_equal(resumed._arrays()[name], array, err_msg=name)
    np.testing.assert_array_equal(resumed.anomaly_score(fresh), unbroken.anomaly_score(fresh))


def test_a_failed_fit_leaves_it_untrained(short_case, monkeypatch):
    def stopped(self, images, validation, run):
        raise KeyboardInterrupt

    detector = make_short(short_case)
    monkeypatch.setattr(type(detector), "_fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        detector.fit(short_case.images(short_case.short_count, 6))
    with pytest.raises(ModelError, match="has not been trained"):
        detector.predict(short_case.images(1, 7))


def test_a_clone_is_untrained_and_has_its_settings(case, fitted):
    from sklearn.base import clone
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(fitted)
    twin = clone(fitted)
    assert type(twin) is type(fitted)
    assert twin.get_params() == fitted.get_params() == fitted.config.model_dump()
    assert case.settings.items() <= twin.get_params().items()
    assert vars(twin).keys() == vars(make(case)).keys()
    for ask in (twin.predict, twin.decision_function, twin.score_samples):
        with pytest.raises(ModelError, match="has not been trained"):
            ask(case.images(1, 7))


def test_fit_sets_the_threshold(case, fitted, tmp_path):
    """So that few normal images are called anomalous, and of the planted ones more."""
    normal = fitted.predict(case.images(case.many, 1))
    planted = fitted.predict(case.images(case.many, 2, planted=True))
    assert set(normal) | set(planted) == {-1, 1}
    # Every tenth training image was held out for it. If the highest of m is the threshold, the rate
    # of false alarms is distributed as Beta(1, m).
    assert np.mean(normal == -1) < 1 - 0.01 ** (10 / case.count)
    assert np.mean(planted == -1) > 0.3 + np.mean(normal == -1)
    quick = fitted.fast()
    if quick is None:
        return
    assert quick.offset_ not in (None, fitted.offset_)
    hundred = Calibration(np.arange(1.0, 100.0))
    model = TrainedModel(fitted, hundred, {}, fast_calibration=hundred)
    loaded = load_model(save_model(model, tmp_path / "model"))
    assert loaded.detector.offset_ == fitted.offset_
    # one in twenty of the fast score's own calibration images lies beyond its threshold
    assert loaded.fast().detector.offset_ == -95.0


def test_signs_are_those_of_scikit_learn(case, fitted, monkeypatch):
    from sklearn.ensemble import IsolationForest

    def flat(images: LensImages) -> np.ndarray:
        return images.stack().pixels[:, ::3, ::3].reshape(len(images), -1)

    normal, planted = case.images(case.few, 1), case.images(case.few, 2, planted=True)
    forest = IsolationForest(n_estimators=30, random_state=0).fit(flat(case.images(case.count, 0)))
    scores = fitted.anomaly_score(normal)
    monkeypatch.setattr(fitted, "offset_", -float(np.quantile(scores, 0.95)), raising=False)
    for model, given in ((forest, flat), (fitted, lambda images: images)):
        samples = model.score_samples(given(normal))
        decisions = model.decision_function(given(normal))
        predictions = model.predict(given(normal))
        assert samples.mean() > model.score_samples(given(planted)).mean()
        np.testing.assert_allclose(decisions, samples - model.offset_)
        np.testing.assert_array_equal(predictions, np.where(decisions < 0, -1, 1))
    # The last model is the detector.
    np.testing.assert_array_equal(samples, -scores)
    assert np.count_nonzero(predictions == -1) == 1
