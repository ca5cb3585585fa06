"""`population`: numbers and files of a set, sets without a number, mistakes, going on."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

pytest.importorskip("zuko")

from lumpylens import population, simulate
from lumpylens.data.images import LensImages
from lumpylens.detectors import outcome
from lumpylens.errors import DataError, ModelError
from lumpylens.fraction import density, summaries
from lumpylens.fraction.summaries import numbers_of, summaries_of
from lumpylens.scale import summarising
from lumpylens.scale.summarising import (
    SeenLenses,
    SummariseTask,
    drawn_fractions,
    simulate_and_look,
)
from lumpylens.simulation.images import lumps_of
from lumpylens.simulation.presets import population as population_of
from lumpylens.store.folder import load_model, model_digest

MODEL = "slc-physics"
OPTIONS = {"simulations": 1000, "progress": False}


@pytest.fixture(scope="module")
def images():
    """Twelve lenses; what is seen in them is replaced by the fixtures below."""
    return simulate("slc", 12, seed=3, progress=False)


def made_up(fraction, seed):
    """Numbers of lenses in which fractions are seen as powers of normal scatter."""
    random = np.random.default_rng(seed)
    seen = np.exp(random.normal(1.0, 0.3, len(fraction)))
    scatter = random.normal(size=len(fraction))
    numbers = {"residual": random.normal(size=len(fraction))}
    for k, share in enumerate((0.001, 0.003, 0.01, 0.03, 0.1)):
        own = 0.3 * random.normal(size=len(fraction))
        power = 1 + 3 * fraction / 0.01 + 0.2 * (scatter + own)
        numbers[f"seen_{share:g}"] = seen * (1 + k)
        numbers[f"squared_{share:g}"] = seen * (1 + k) / 2
        numbers[f"power_{share:g}"] = np.abs(power) * seen * (1 + k)
    return numbers


@pytest.fixture
def toy(monkeypatch):
    """Simulated lenses are made up, and learned from for a short time; sizes of the shards made."""
    monkeypatch.setattr(density, "EPOCHS", 5)
    done = []

    def look(task, _):
        done.append(len(task.fractions))
        fractions = np.array(task.fractions)
        trusted = np.ones(len(fractions), dtype=bool)
        trusted[0] = False
        return SeenLenses(fractions, trusted, made_up(fractions, task.first))

    monkeypatch.setattr(SummariseTask, "look", look)
    return done


@pytest.fixture
def seen_at(monkeypatch):
    """Let the set have a fraction."""

    def let(fraction):
        def summarised(scores):
            count = int(scores.trusted.sum())
            return summaries.summaries_from(made_up(np.full(count, fraction), 99))

        monkeypatch.setattr(summaries, "summaries_of", summarised)

    return let


@pytest.mark.slow
def test_a_set_gets_a_posterior_with_files_and_the_same_call_goes_on(
    tmp_path, images, toy, seen_at
):
    seen_at(0.03)
    out = tmp_path / "out"
    found = population(MODEL, images, out=out, **OPTIONS)
    assert toy == [250] * 4
    assert (found.n_used, found.n_failed, found.refusal) == (12, 0, "")
    assert found.mean == pytest.approx(0.03, abs=0.01)
    low, high = found.interval(0.95)
    assert 0 < low < found.interval(0.68)[0] < found.mean < found.interval(0.68)[1] < high
    assert {path.name for path in out.iterdir()} == {
        "population.json", "report.html", "posterior.png", "lenses.png", "lenses.csv", "simulated",
    }  # fmt: skip
    numbers = json.loads((out / "population.json").read_text())
    assert numbers["mean"] == found.mean
    assert numbers["interval_95"] == [low, high]
    assert np.trapezoid(
        numbers["posterior"]["density"], numbers["posterior"]["fraction"]
    ) == pytest.approx(1)
    assert numbers["settings"]["simulations"] == 1000
    assert numbers["settings"]["versions"]["zuko"]
    assert numbers["like_simulated"]["p_value"] > 0.01
    page = (out / "report.html").read_text()
    assert "fraction of mass in substructure" in page
    assert 'src="http' not in page
    assert "%" in repr(found)
    assert len(found.to_pandas()) == 1001

    again = population(MODEL, images, out=out, **OPTIONS)
    assert toy == [250] * 4
    np.testing.assert_array_equal(again.posterior.density, found.posterior.density)
    # Without a place nothing is written, and the same is found.
    unwritten = population(MODEL, images, **OPTIONS)
    np.testing.assert_array_equal(unwritten.posterior.density, found.posterior.density)
    logarithmic = population(MODEL, images, out=out, prior="log-uniform", **OPTIONS)
    assert logarithmic.mean < found.mean


@pytest.mark.slow
def test_a_set_without_substructure_gets_a_limit(tmp_path, images, toy, seen_at):
    seen_at(0.0)
    found = population(MODEL, images, out=tmp_path / "out", **OPTIONS)
    assert found.interval(0.95)[0] == 0
    assert f"below {found.upper_limit:.2%}" in repr(found)
    assert found.to_dict()["zero_is_inside"]


@pytest.mark.slow
def test_a_set_unlike_the_simulated_ones_gets_no_number(tmp_path, images, toy, seen_at):
    seen_at(0.03)
    out = tmp_path / "out"
    population(MODEL, images, out=out, **OPTIONS)
    seen_at(0.5)
    found = population(MODEL, images, out=out, **OPTIONS)
    assert found.posterior is None
    assert "not like simulated lenses" in found.refusal
    assert f"no fraction: {found.refusal}" in repr(found)
    assert not (out / "posterior.png").exists()  # that of the earlier set
    numbers = json.loads((out / "population.json").read_text())
    assert numbers["posterior"] is None
    assert "mean" not in numbers
    assert len(found.to_pandas()) == 0
    with pytest.raises(DataError, match="has no fraction"):
        found.interval()


def test_a_set_that_the_model_itself_finds_strange_gets_no_number(tmp_path, images, monkeypatch):
    doubted = outcome.Scores.doubted
    monkeypatch.setattr(
        "lumpylens.detectors.base.Detector.score",
        lambda self, images, **_: doubted(
            outcome.Scores(
                np.ones(12), {}, np.ones(12), [""] * 12, [""] * 12, remark="the blur is wider"
            ),
            "the blur is wider",
        ),
    )
    found = population(MODEL, images, out=tmp_path / "out", **OPTIONS)
    assert found.posterior is None
    assert found.refusal == "the blur is wider"
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.slow
def test_labels_of_the_set_are_never_looked_at(tmp_path, toy, monkeypatch):
    images = simulate("slc", 12, seed=3, substructure="points-compensated", progress=False)
    plain = LensImages.from_arrays(
        np.stack([image.image for image in images]), jpeg_table=images[0].jpeg_table, stretched=True
    )
    with_labels = LensImages.from_arrays(
        np.stack([image.image for image in images]),
        jpeg_table=images[0].jpeg_table,
        stretched=True,
        labels=[0, 1] * 6,
    )
    seen = []
    monkeypatch.setattr(
        summaries, "summaries_of", lambda scores: seen.append(summaries_of(scores)) or seen[-1]
    )
    for number, some in enumerate((plain, with_labels)):
        population(MODEL, some, out=tmp_path / str(number), **OPTIONS)
    np.testing.assert_array_equal(seen[0].power, seen[1].power)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"model": "slc-pixel"}, ModelError, "slc-pixel is pixel; train one with"),
        ({"model": "nothing"}, ModelError, "nothing"),
        ({"recipe": "hubble"}, DataError, "no population called 'hubble'"),
        ({"substructure": "lumps"}, DataError, "no substructure called 'lumps'"),
        ({"settings": {"mass_msun": 1e8}}, DataError, "has no fraction to infer"),
        ({"largest": 1.5}, DataError, "largest is a fraction"),
        ({"prior": "flat"}, DataError, "uniform or log-uniform, got 'flat'"),
        ({"simulations": 10}, DataError, "at least 1000 simulated lenses"),
        ({"seed": -1}, DataError, "not negative"),
        ({"workers": 0}, DataError, "at least one worker"),
        ({"workers": 2, "cluster": "local"}, DataError, "either workers or a cluster"),
        ({"cluster": "nowhere"}, DataError, "no cluster called"),
        ({"data": "no/such/folder"}, DataError, "no/such/folder"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_before_any_work(tmp_path, images, toy, change, kind, words):
    options = {"model": MODEL, "data": images, "out": tmp_path / "out", **OPTIONS, **change}
    with pytest.raises(kind, match=words) as problem:
        population(options.pop("model"), options.pop("data"), **options)
    assert "\n" not in str(problem.value)
    assert toy == []
    assert not (tmp_path / "out").exists()


def test_few_lenses_or_none_that_can_be_used_are_told(tmp_path, images, toy):
    with pytest.raises(DataError, match="at least 10 lenses, and .* has 3"):
        population(MODEL, images[:3], out=tmp_path / "out", **OPTIONS)
    noise = np.random.default_rng(0).random((12, 40, 40))
    with pytest.raises(DataError, match="has 0 that can be used; of another one, "):
        population(MODEL, noise, out=tmp_path / "out", **OPTIONS)
    assert toy == []


def test_a_folder_of_something_else_is_left_alone(tmp_path, images, toy):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(DataError, match=r"holds thesis\.tex"):
        population(MODEL, images, out=tmp_path, **OPTIONS)
    with pytest.raises(DataError, match="is a file"):
        population(MODEL, images, out=tmp_path / "thesis.tex", **OPTIONS)


def test_a_missing_package_is_told_with_its_extra(tmp_path, images, monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(ModelError, match=r"lumpylens\[population\]"):
        population(MODEL, images, out=tmp_path / "out", **OPTIONS)


# -- simulated lenses ---------------------------------------------------------------------------


def looked_at(folder, fractions, **options):
    chosen = population_of("slc")
    return simulate_and_look(
        chosen,
        lumps_of(chosen, "points-compensated"),
        fractions,
        model=MODEL,
        model_digest=model_digest(MODEL),
        folder=folder,
        seed=5,
        progress=False,
        **options,
    )


def test_simulated_lenses_are_those_of_simulate_and_seen_as_a_user_sees_them(tmp_path, monkeypatch):
    monkeypatch.setattr(summarising, "LENSES_PER_SHARD", 2)
    seen = looked_at(tmp_path, [0.0, 0.05, 0.05])
    detector = load_model(MODEL).detector
    smooth = simulate("slc", 1, seed=5, progress=False)
    lumpy = simulate("slc", seed=5, indices=[1, 2], substructure="points-compensated",
                     settings={"mass_fraction": 0.05}, progress=False)  # fmt: skip
    for rows, images in ((slice(0, 1), smooth), (slice(1, 3), lumpy)):
        for name, column in numbers_of(detector.score(images)).items():
            np.testing.assert_allclose(seen.numbers[name][rows], column, rtol=1e-6)
    assert seen.trusted.all()
    files = sorted((tmp_path / "shards").glob("*.npz"))
    assert len(files) == 2

    files[0].unlink()
    times = files[1].stat().st_mtime_ns
    again = looked_at(tmp_path, [0.0, 0.05, 0.05], workers=2)
    assert files[1].stat().st_mtime_ns == times
    for name, column in seen.numbers.items():
        np.testing.assert_array_equal(again.numbers[name], column)
    # A longer run keeps whole shards of a shorter one.
    assert len(looked_at(tmp_path, [0.0, 0.05, 0.05, 0.01]).fraction) == 4
    assert files[0].stat().st_mtime_ns > 0
    with pytest.raises(ModelError, match="simulated lenses of other settings"):
        simulate_and_look(
            population_of("slc"), lumps_of(population_of("slc"), "spheres"), [0.0],
            model=MODEL, model_digest=model_digest(MODEL), folder=tmp_path, seed=5, progress=False,
        )  # fmt: skip


def test_lenses_that_a_model_cannot_use_are_told(tmp_path):
    chosen = population_of("euclid")
    with pytest.raises(DataError, match="the model cannot use lenses of euclid"):
        simulate_and_look(
            chosen, lumps_of(chosen, "points"), [0.01], model=MODEL,
            model_digest=model_digest(MODEL), folder=tmp_path, seed=5, progress=False,
        )  # fmt: skip


def test_fractions_are_drawn_one_by_one_and_some_are_zero():
    fractions = drawn_fractions(2000, 0.2, 7)
    np.testing.assert_array_equal(fractions[:100], drawn_fractions(100, 0.2, 7))
    assert (fractions == 0).mean() == pytest.approx(0.25, abs=0.04)
    positive = fractions[fractions > 0]
    assert 0 < positive.min() < positive.max() < 0.2
    assert np.sqrt(positive / 0.2).mean() == pytest.approx(0.5, abs=0.03)


def test_summaries_are_standard_for_smooth_lenses_and_leave_out_the_doubtful():
    random = np.random.default_rng(0)
    directions = 12
    power = (random.normal(size=(4000, directions)) ** 2).sum(axis=1)
    numbers = {"residual": np.zeros(4000)}
    for share in (0.001, 0.003, 0.01, 0.03, 0.1):
        numbers[f"power_{share:g}"] = power * 0.4
        numbers[f"seen_{share:g}"] = np.full(4000, directions * 0.4)
        numbers[f"squared_{share:g}"] = np.full(4000, directions * 0.4**2)
    found = summaries.summaries_from(numbers)
    assert abs(found.power.mean()) < 0.06
    assert found.power.std() == pytest.approx(1, abs=0.04)
    np.testing.assert_allclose(found.depth[0, -1], np.log(directions))
    scores = outcome.Scores(
        np.array([1.0, np.nan, 1.0]), {"residual": numbers["residual"][:3]}, np.ones(3),
        ["", "unreadable", ""], ["", "", "strange"],
        details={name: column[:3] for name, column in numbers.items()},
    )  # fmt: skip
    assert len(summaries_of(scores)) == 1
