"""The report: everything it shows is there, escaped, and lies beside it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mean_image import MeanImage, blobs
from numpy.typing import NDArray
from page_text import Page
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.data.splits import split
from lumpylens.report import page, pictures
from lumpylens.report.bins import shared_bins
from lumpylens.report.evaluation import Evaluation
from lumpylens.report.figures import distribution, power_of_ten
from lumpylens.report.listing import write_listing
from lumpylens.report.page import write_report
from lumpylens.report.pictures import write_picture
from lumpylens.report.strips import residual_range, write_example
from lumpylens.report.style import LIGHT
from lumpylens.results.calibration import Calibration
from lumpylens.results.examples import Example
from lumpylens.results.score_table import ScoreTable
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.evaluate import evaluate

NASTY = """<script>alert("x")</script>&'.jpg"""


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    normal = blobs(400, seed=0)
    parts = split(LensImages.from_arrays(normal))
    detector = MeanImage().fit(parts.train, validation=parts.validation)
    seen = {part: digests for part, digests in parts.digests.items() if part != "test"}
    model = TrainedModel(detector, Calibration(detector.anomaly_score(parts.calibration)), seen)
    anomalous = blobs(40, seed=1, bump=0.3)
    anomalous[-1] = 0
    names = [f"{k} {NASTY}" for k in range(len(anomalous))]
    return evaluate(
        model,
        normal=normal,
        anomalous=LensImages.from_arrays(anomalous, ids=names),
        progress=False,
    )


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lumpylens.report.style.DOTS_PER_INCH", 40)
        return write_report(evaluation, tmp_path_factory.mktemp("report"))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing, which takes most of the time."""
    monkeypatch.setattr(page, "save_both", lambda draw, folder, name: None)
    files = {"image": "image.png", "bar": (20, "5 px")}
    monkeypatch.setattr(page, "write_example", lambda *_: files)


def pixels_of(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"))


def test_page_is_well_formed_and_asks_nobody_for_anything(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    found = Page(text)
    assert found.open == []
    assert all("src" not in script for script in found.all("script"))
    addresses = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)//\w", addresses)
    assert "@import" not in text
    # the colours of pictures are filters of the page itself
    assert "url(" not in text.replace("url(#light-", "")
    named = [a["src"] for a in found.all("img")] + [a["srcset"] for a in found.all("source")]
    assert all(not name.startswith("/") and (report.parent / name).is_file() for name in named)
    used = {Path(name).name for name in named}
    used |= {entry.name for entry in (report.parent / "images").glob("thumb-*.png")}
    assert {entry.name for entry in (report.parent / "images").iterdir()} == used


def test_page_shows_every_figure_in_light_and_dark(report: Path) -> None:
    names = {"loss", "score", "roc", "roc-low", "roc-parts", "audit", "calibration", "training"}
    pictures = {entry.stem for entry in (report.parent / "images").iterdir()}
    assert {name for name in pictures if not name.startswith(("example", "thumb"))} == {
        f"{name}{ground}" for name in names for ground in ("", "-dark")
    }
    light, dark = (
        pixels_of(report.parent / "images" / f"roc{ground}.png") for ground in ("", "-dark")
    )
    assert light.shape == dark.shape
    assert light[0, 0, 3] == 0, "the ground is transparent"
    assert light[light[..., 3] == 255][:, :3].mean() < dark[dark[..., 3] == 255][:, :3].mean()


def test_page_can_be_read_without_seeing_it(report: Path) -> None:
    found = Page(report.read_text(encoding="utf-8"))
    assert all(image["alt"] for image in found.all("img"))
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert found.all("html")[0]["lang"] == "en"
    assert all("scope" in cell for cell in found.all("th"))
    anchors = {a["href"][1:] for a in found.all("a") if a["href"].startswith("#")}
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    assert anchors <= ids
    assert {t["aria-describedby"] for t in found.all("table") if "aria-describedby" in t} <= ids
    # what scrolls sideways can be reached by keyboard
    scrolled = [a for a in found.all("div") if a.get("class") == "scroll"]
    assert scrolled
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolled)


def test_page_says_the_numbers(report: Path, evaluation: Evaluation) -> None:
    m, text = evaluation.metrics, Page(report.read_text(encoding="utf-8")).text
    for number in (
        page.rate(m["auc"]),
        page.interval(m),
        page.rate(m["tpr_at_fpr"]["0.05"]),
        page.rate(m["audit"]["free_mass"]["auc"]),
        page.rate(m["splits"]["train"]["auc"]),
    ):
        assert number in text
    assert "1 anomalous image could not be scored" in text
    assert "The classes differ in something that is not lensing" in text
    assert "give no p-value below 1/" in text
    assert f"numpy {np.__version__}" in text


def test_names_of_images_are_text(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert NASTY not in text
    assert NASTY in Page(text).text


def test_nothing_is_said_of_what_a_detector_lacks(
    evaluation: Evaluation, tmp_path: Path, no_pictures: None
) -> None:
    m = {**evaluation.metrics, "splits": {}, "wasserstein": None, "model": {
        **evaluation.metrics["model"], "n_seen": {}}}  # fmt: skip
    m["audit"] = {**m["audit"], "free_mass": None, "trivial": {}}
    for place in (m, m["audit"]):
        place["components"] = {
            name: area for name, area in place["components"].items() if name == "free_mass"
        }
    bare = {
        name: replace(
            table,
            components={
                **table.components, "reconstruction_mse": np.full(len(table), np.nan)
            },
            p_value=np.full(len(table), np.nan),
        )
        for name, table in evaluation.tables.items()
    }  # fmt: skip
    shown = {
        group: tuple(replace(e, reconstruction=None, p_value=float("nan")) for e in members)
        for group, members in evaluation.examples.items()
    }
    least = replace(evaluation, metrics=m, tables=bare, history=[], examples=shown)
    found = Page(write_report(least, tmp_path).read_text(encoding="utf-8"))
    assert found.open == []
    assert "not trained in epochs" in found.text
    for missing in ("Training and validation data", "total mass", "econstruct", "Blink"):
        assert missing not in found.text
    assert not re.search(r"\b(nan|None|inf)\b", found.text)


def test_the_list_has_no_column_of_what_a_detector_lacks(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    def columns(table: ScoreTable) -> set[str]:
        ranking = replace(evaluation.ranking, table=table, explanations={})
        return {column["key"] for column in write_listing(ranking, tmp_path).data["columns"]}

    table = evaluation.ranking.table
    lacking = {**table.components, "reconstruction_mse": np.full(len(table), np.nan)}
    none = np.full(len(table), np.nan)
    whole = columns(table)
    assert whole - columns(replace(table, components=lacking)) == {"reconstruction_mse"}
    # what every table has stays, even if no image has a p-value
    assert columns(replace(table, p_value=none, q_value=none)) == whole


def test_figures_of_a_perfect_and_of_a_useless_score_are_drawn(tmp_path: Path) -> None:
    from lumpylens.report import figures
    from lumpylens.results.metrics import roc_curve

    for shift in (0.0, 1e6):
        values = {"normal": np.arange(20.0), "anomalous": np.arange(30.0) + shift}
        curve = roc_curve(values["normal"], values["anomalous"])
        for figure in (
            figures.roc_low(LIGHT, curve),
            figures.distribution(LIGHT, values, "score", ("FPR 1%", 5.0)),
        ):
            figure.savefig(tmp_path / "figure.png", dpi=40)
            assert pixels_of(tmp_path / "figure.png")[..., 3].any()


samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(samples, samples)
def test_every_value_is_in_a_shared_bin_or_said_to_be_beyond(
    normal: list[float], anomalous: list[float]
) -> None:
    both = np.array(normal + anomalous)
    bins = shared_bins(np.array(normal), np.array(anomalous))
    assert (np.diff(bins.edges) > 0).all()
    # up to rounding at the edges
    slack = 1e-6 * (bins.edges[-1] - bins.edges[0])
    low, high = bins.edges[0], bins.edges[-1]
    assert (both < low - slack).sum() <= bins.below <= (both < low).sum()
    assert (both > high + slack).sum() <= bins.above <= (both > high).sum()
    assert bins.below + bins.above <= 0.004 * len(both) + 2


def test_the_axis_follows_the_range() -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(10, 1, 1000)
    assert shared_bins(normal, normal + 3).scale == "linear"
    assert shared_bins(np.exp(normal), np.exp(normal + 3)).scale == "log"
    assert shared_bins(normal - 10, normal * 100).scale == "asinh"
    odd = shared_bins(normal, np.append(normal + 3, 1e9))
    assert odd.scale == "linear"
    assert 1 <= odd.above <= 8
    assert odd.edges[-1] < 30


def test_numbers_along_an_axis_on_both_sides_of_zero_stand_apart() -> None:
    rng = np.random.default_rng(0)
    values = {"normal": rng.normal(-0.3, 0.5, 500), "anomalous": 10 ** rng.normal(3, 0.7, 2000)}
    axes = distribution(LIGHT, values, "score", None).axes[0]
    ends = axes.transData.transform([(x, 0) for x in axes.get_xlim()])[:, 0]
    places = axes.transData.transform([(x, 0) for x in axes.get_xticks()])[:, 0]
    assert len(places) >= 5
    assert np.diff(places).min() > 0.07 * np.ptp(ends)
    assert [text.get_text() for text in axes.get_xticklabels()][-2:] == [
        "$10^{4}$",
        "$10^{5}$",
    ]


def test_an_example_is_an_image_its_reconstruction_and_their_difference(tmp_path: Path) -> None:
    image = blobs(1, seed=3)[0]
    example = Example("a", True, 1, 2.0, 0.1, image, image + 0.01, pixel_scale_arcsec=0.1)
    assert residual_range([example]) == pytest.approx(0.01 / np.ptp(image), rel=1e-4)
    pictures = write_example(example, residual_range([example]), tmp_path, "a")
    assert pictures["bar"] == (pytest.approx(100 * 5 / 24), "0.5″")
    shown = {name: pixels_of(tmp_path / pictures[name]) for name in ("image", "model", "residual")}
    assert {pixels.shape for pixels in shown.values()} == {(24, 24, 4)}
    # the image is fainter than its reconstruction everywhere: blue
    assert (shown["residual"][..., 2] > shown["residual"][..., 0]).all()
    # limits are those of the image
    assert (shown["model"] >= shown["image"]).all()
    bare = replace(example, reconstruction=None, pixel_scale_arcsec=None)
    assert write_example(bare, 1.0, tmp_path, "b") == {
        "image": "b-image.png", "bar": (pytest.approx(100 * 5 / 24), "5 px")
    }  # fmt: skip


def test_pictures_of_large_images_are_small(tmp_path: Path) -> None:
    image = np.kron(blobs(1, seed=3)[0], np.ones((50, 50), dtype=np.float32))
    write_example(Example("a", True, 1, 2.0, 0.1, image, None), 1.0, tmp_path, "a")
    assert pixels_of(tmp_path / "a-image.png").shape[:2] == (400, 400)


@pytest.mark.parametrize("stretch", ["asinh", "linear", "log"])
def test_the_page_turns_grey_levels_into_the_colours_of_a_stretch(
    tmp_path: Path, stretch: str
) -> None:
    image = np.linspace(0, 1, 2001, dtype=np.float32)[None]
    pictures.write_light(image, image, tmp_path / "light.png")
    level = pixels_of(tmp_path / "light.png")[..., 0] / 255
    tables = [np.array(table.split(), dtype=float) for table in pictures.stretch_tables()[stretch]]
    shown = np.stack([np.interp(level, np.linspace(0, 1, len(t)), t) for t in tables], axis=-1)
    unit = pictures.unit_light(image, image)
    light = {
        "asinh": pictures.display(image, image),
        "linear": unit,
        "log": np.log(1 + 100 * unit) / np.log(101),
    }[stretch]
    wanted = matplotlib.colormaps["magma"](light)[..., :3]
    assert np.abs(shown - wanted).max() < 6 / 255


@pytest.mark.parametrize(
    ("width", "scale", "length", "text"),
    [(100, 0.05, 20, "1″"), (201, 0.05, 40, "2″"), (64, None, 10, "10 px"), (24, 0.1, 5, "0.5″"),
     (70, None, 20, "20 px"), (170, None, 50, "50 px")],
)  # fmt: skip
def test_a_scale_bar_is_a_round_length(
    width: float, scale: float | None, length: float, text: str
) -> None:
    assert pictures.scale_bar(width, scale) == (pytest.approx(length), text)


def test_mistakes_at_the_threshold_are_counted_in_words() -> None:
    point = {"threshold": 3.0, "fpr": 0.0, "tpr": 1.0, "n_normal": 40, "n_anomalous": 20}
    said = page.mistakes("0.01", point)
    line = "scores above the threshold for a false-positive rate of 0.01 (3)"
    assert said == {
        "false_alarms": f"No normal image with a p-value {line}: there are no false alarms.",
        "missed": f"Every anomalous image with a p-value {line}: none is missed.",
    }
    said = page.mistakes("0.01", {**point, "fpr": 2 / 40, "tpr": 19 / 20})
    assert said["false_alarms"].startswith("False alarms: 2 of 40 normal images")
    assert said["missed"].startswith("Missed: 1 of 20 anomalous images")


def test_an_image_is_a_mistake_by_class_and_threshold() -> None:
    image = blobs(1, seed=3)[0]
    point = ("0.01", {"threshold": 3.0})
    normal = Example("a", False, 1, 3.5, 0.01, image, None)
    assert page.mistake_of(normal, point) == "false alarm"
    assert page.mistake_of(replace(normal, anomaly_score=3.0), point) == ""
    assert page.mistake_of(replace(normal, p_value=np.nan), point) == ""
    assert page.mistake_of(normal, None) == ""
    anomalous = replace(normal, anomalous=True)
    assert page.mistake_of(anomalous, point) == ""
    assert page.mistake_of(replace(anomalous, anomaly_score=3.0), point) == "missed"


def groups_of(text: str) -> str:
    """Part of the page's text that shows mistakes, if there are any."""
    return text[text.index("Normal images with the highest") : text.index("Lowest ranked")]


def test_page_calls_false_alarms_only_what_is_above_the_threshold(
    evaluation: Evaluation, tmp_path: Path, no_pictures: None
) -> None:
    thresholds = evaluation.metrics["thresholds"]
    fpr, point = page.strictest_point(evaluation.metrics)  # type: ignore[misc]
    assert "refused" in thresholds["0.01"]
    text = Page(write_report(evaluation, tmp_path).read_text(encoding="utf-8")).text
    assert page.mistakes(fpr, point)["false_alarms"] in text
    shown = evaluation.examples["false_alarms"] + evaluation.examples["missed"]
    tags = [page.mistake_of(example, (fpr, point)) for example in shown]
    for tag in ("false alarm", "missed"):
        assert len(re.findall(rf"{tag}rank", groups_of(text))) == tags.count(tag)
    refused = {fpr: {"refused": "too few"} for fpr in thresholds}
    bare = replace(evaluation, metrics={**evaluation.metrics, "thresholds": refused})
    text = Page(write_report(bare, tmp_path).read_text(encoding="utf-8")).text
    assert not re.search("(?i)false alarm|missed", groups_of(text))


def test_a_map_lets_the_light_below_show_where_it_is_near_zero(tmp_path: Path) -> None:
    unit = np.array([[0.0, 0.45, 0.5, 1.0, np.nan]])
    alphas = []
    for see_through in (False, True):
        write_picture(unit, "PuOr_r", tmp_path / "map.png", see_through=see_through)
        with Image.open(tmp_path / "map.png") as picture:
            alphas.append(np.asarray(picture.convert("RGBA"))[0, :, 3].tolist())
    assert alphas[0] == [255, 255, 255, 255, 0]
    assert alphas[1] == [255, pytest.approx(255 * 0.1 / 0.3, abs=4), 0, 255, 0]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "0.500"), (0.99, "0.990"), (0.9934, "0.9934"), (0.99978, "0.99978"), (1.0, "1.000"),
     (0.0, "0.000"), (0.0041, "0.0041"), (None, "–")],
)  # fmt: skip
def test_rates_show_their_distance_to_the_end(value: Any, said: str) -> None:
    assert page.rate(value) == said


def test_numbers_are_written_as_a_person_writes_them() -> None:
    assert page.number(2.661e-06, 3) == "2.66&times;10<sup>-6</sup>"
    assert page.number(12.3456) == "12.35"
    assert page.number(None) == page.number(float("nan")) == "&ndash;"
    assert power_of_ten(5e-05) == r"$5{\times}10^{-5}$"


def test_a_power_of_ten_stands_in_the_label_of_the_axis() -> None:
    from lumpylens.report import figures

    losses = np.random.default_rng(0).uniform(1e-5, 3e-5, (2, 50))
    values = dict(zip(("normal", "anomalous"), losses, strict=True))
    axes = figures.distribution(LIGHT, values, "loss", None).axes[0]
    assert axes.get_xlabel() == "loss / $10^{-5}$"
    assert axes.xaxis.get_major_formatter()(2e-5, 0) == "2"
    large = {name: 1e5 * column for name, column in values.items()}
    assert figures.distribution(LIGHT, large, "loss", None).axes[0].get_xlabel() == "loss"


def test_no_rate_is_written_over_the_ticks_of_the_axis() -> None:
    from lumpylens.report import figures
    from lumpylens.results.metrics import roc_curve

    curve = roc_curve(np.arange(20.0), np.arange(100.0, 120.0))
    assert curve.tpr_at(0.01).low < 0.1
    axes = figures.roc_low(LIGHT, curve).axes[0]
    assert min(text.xy[1] for text in axes.texts) > 0.5
