"""The report of a list, in a real browser: it loads, sorts, filters, opens and selects."""

from __future__ import annotations

import csv
import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mean_image import MeanImage, blobs
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.results.calibration import Calibration
from lumpylens.results.score_table import ScoreTable
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.evaluate import evaluate
from lumpylens.verbs.score import score

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason="needs Chromium and its driver (Debian: chromium and chromium-driver)",
    ),
]
NASTY = '</script><img src=x onerror="document.title=1">,"'
EXPLAINED = 8


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    detector = MeanImage().fit(blobs(60, seed=0))
    return TrainedModel(detector, Calibration(detector.anomaly_score(blobs(199, seed=1))), {})


@pytest.fixture(scope="module")
def page(model: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report of 120 images: 20 with a bump, one that cannot be read, one with a warning."""
    pixels = np.concatenate([blobs(100, seed=2), blobs(20, seed=3, bump=0.5)])
    pixels[4], pixels[9] = 2.5, np.exp(-9 * blobs(30, seed=2)[9])
    names = [f"lens {k}" for k in range(119)] + [NASTY]
    folder = tmp_path_factory.mktemp("list") / "report"
    images = LensImages.from_arrays(pixels, ids=names)
    score(model, images, report=folder, explain=EXPLAINED, progress=False)
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--window-size=1200,900", "--force-prefers-reduced-motion"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    folder = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    made = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    made.downloads = folder
    yield made
    made.quit()


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def all_of(browser: Any, selector: str) -> list[Any]:
    return list(browser.find_elements("css selector", selector))


def one(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def column(browser: Any, key: str) -> list[str]:
    """Texts of one column of the page of the table that is shown."""
    return list(
        browser.execute_script(
            "const at = [...document.querySelectorAll('#rows thead th')]"
            ".findIndex((cell) => cell.dataset.key === arguments[0]);"
            "return [...document.querySelectorAll('#rows tbody tr')]"
            ".map((row) => row.cells[at].textContent)",
            key,
        )
    )


def write(element: Any, text: str) -> None:
    element.clear()
    element.send_keys(text)


def choose(browser: Any, kind: str) -> None:
    from selenium.webdriver.support.select import Select

    Select(one(browser, "#show")).select_by_value(kind)


@contextmanager
def phone(opened: Any, dark: bool) -> Iterator[None]:
    """Show the page as a phone does."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        yield
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def within(seconds: float, test: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not test() and time.monotonic() < deadline:
        time.sleep(0.05)
    return test()


def test_it_loads_and_asks_nobody_for_anything(opened: Any, page: Path) -> None:
    assert opened.title.endswith("lumpylens")
    assert len(column(opened, "rank")) == 50
    loaded = opened.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert all(name.startswith((page.parent.as_uri(), "data:")) for name in loaded)
    thumbs = all_of(opened, "#thumbs img")
    assert len(thumbs) == 24
    assert all(picture.get_attribute("loading") == "lazy" for picture in thumbs)
    first = "return document.querySelector('#thumbs img').naturalWidth"
    assert within(5, lambda: opened.execute_script(first) > 0)


def test_it_sorts_both_ways_and_keeps_what_is_missing_last(opened: Any, page: Path) -> None:
    table = ScoreTable.read(page.parent / "scores.csv")
    ranked = table.ranked()
    assert column(opened, "id") == ranked.id[:50]
    button = one(opened, "#rows th[data-key='anomaly_score'] button")
    for direction, sign in (("descending", -1), ("ascending", 1)):
        button.click()
        cell = one(opened, "#rows th[data-key='anomaly_score']")
        assert cell.get_attribute("aria-sort") == direction
        expected = np.array(table.id)[np.argsort(sign * table.anomaly_score, kind="stable")]
        assert column(opened, "id")[:20] == expected[:20].tolist()
    while one(opened, "#later").is_enabled():
        one(opened, "#later").click()
    assert column(opened, "id")[-1] == "lens 4"
    assert "page 3 of 3" in one(opened, "#page-said").text


def test_it_filters_by_words_conditions_and_kind(opened: Any, page: Path) -> None:
    table = ScoreTable.read(page.parent / "scores.csv")
    query = one(opened, "#query")
    write(query, "LENS p_value<=0.02")
    passing = {name for name, p in zip(table.id, table.p_value, strict=True) if p <= 0.02}
    assert set(column(opened, "id")) == {name for name in passing if "lens" in name}
    write(query, "constant")
    assert column(opened, "id") == ["lens 4"]
    assert "1 of 120 images" in one(opened, "#shown-said").text
    query.clear()
    query.send_keys(" ")
    choose(opened, "noted")
    assert set(column(opened, "id")) == {"lens 4", "lens 9"}
    choose(opened, "explained")
    assert len(column(opened, "id")) == EXPLAINED


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("p_val<0.1", "There is no column p_val; did you mean p_value? Columns: rank, id,"),
        ("score>3", "There is no column score; did you mean anomaly_score? Columns:"),
        ("qwertyuiop>3", "There is no column qwertyuiop. Columns: rank, id, anomaly_score,"),
        ("p_value<", "p_value< is not finished: write a number behind it."),
        ("id=", "id= is not finished: write a word behind it."),
        ("p_value<x", "p_value<x: x is not a number."),
        ("id<5", "id holds words: write id=5, or the word alone."),
    ],
)
def test_a_condition_that_cannot_be_tested_says_why_and_hides_nothing(
    opened: Any, typed: str, said: str
) -> None:
    query = one(opened, "#query")
    write(query, typed)
    assert one(opened, "#query-problem").text.startswith(said)
    assert query.get_attribute("aria-invalid") == "true"
    assert "120 of 120 images" in one(opened, "#shown-said").text
    write(query, "lens")
    assert one(opened, "#query-problem").text == ""
    assert query.get_attribute("aria-invalid") == "false"


def test_conditions_may_have_blanks_other_letters_and_words(opened: Any, page: Path) -> None:
    table = ScoreTable.read(page.parent / "scores.csv")
    query = one(opened, "#query")
    write(query, "P_value <= 0.02")
    assert set(column(opened, "id")) == {
        name for name, p in zip(table.id, table.p_value, strict=True) if p <= 0.02
    }
    write(query, "rank == 3")
    assert column(opened, "rank") == ["3"]
    # a name may look like a condition
    write(query, "onerror=")
    assert column(opened, "id") == [NASTY]
    assert one(opened, "#query-problem").text == ""


def test_a_stretch_holds_for_all_pictures(opened: Any) -> None:
    from selenium.webdriver.support.select import Select

    def colour() -> tuple[int, int, int]:
        """Of the middle of the first thumbnail, a bright blob."""
        with Image.open(io.BytesIO(one(opened, "#thumbs img").screenshot_as_png)) as shown:
            middle = shown.convert("RGB").getpixel((shown.width // 3, shown.height // 2))
        return tuple(middle)

    colours = {"asinh": colour()}
    for stretch in ("linear", "log"):
        Select(one(opened, "#gallery .stretch")).select_by_value(stretch)
        colours[stretch] = colour()
        one(opened, "#thumbs button").click()
        dialog = one(opened, "#opened .stretch")
        assert dialog.get_attribute("value") == stretch
        drawn = all_of(opened, "#opened-panels image.light:not(.turn)")
        assert len(drawn) == 2
        assert all(f"#light-{stretch}" in p.value_of_css_property("filter") for p in drawn)
        one(opened, "#close").click()
    # faint light is brightest on a logarithmic scale
    assert sum(colours["linear"]) < sum(colours["asinh"]) < sum(colours["log"])
    # colours, although the files are grey
    assert len(set(colours["asinh"])) == 3


def test_image_and_model_blink_and_have_a_scale(opened: Any) -> None:
    one(opened, "#thumbs button").click()
    model = one(opened, "#opened-panels image.turn")
    assert model.value_of_css_property("visibility") == "hidden"
    switch = one(opened, "#opened .blink-switch")
    switch.send_keys(" ")
    # this browser prefers reduced motion: the model replaces the image until switched back
    assert model.value_of_css_property("visibility") == "visible"
    assert model.value_of_css_property("animation-name") == "none"
    assert one(opened, "#opened-panels text.turn").text == "reconstruction"
    opened.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-reduced-motion", "value": "no-preference"}]},
    )
    assert model.value_of_css_property("animation-name") == "turn"
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    switch.send_keys(" ")
    assert model.value_of_css_property("visibility") == "hidden"
    bars = [bar.text for bar in all_of(opened, "#opened-panels .scale text")]
    assert bars == ["5 px"] * len(all_of(opened, "#opened-panels svg"))
    label = one(opened, "#opened-panels svg").get_attribute("aria-label")
    assert label == "image; the bar is 5 px long"


def test_arrow_keys_choose_a_stretch_where_it_has_the_focus(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    one(opened, "#thumbs button").click()
    rank = one(opened, "#opened-rank").text
    one(opened, "#opened .stretch").send_keys(Keys.ARROW_RIGHT)
    assert one(opened, "#opened-rank").text == rank


def test_an_explanation_opens_and_keys_lead_on(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    thumb = one(opened, "#thumbs button")
    thumb.send_keys(Keys.ENTER)
    dialog = one(opened, "#opened")
    assert dialog.get_attribute("open") is not None
    first = one(opened, "#opened-name").text
    assert "Squared error of the reconstruction" in one(opened, "#opened-sentence").text
    assert "row 0 is at the bottom" in one(opened, "#opened-peak").text
    assert [cell.text for cell in all_of(opened, "#opened-panels figcaption")] == [
        "image", "reconstruction", "image − model", "loss map"
    ]  # fmt: skip
    marked = [bool(all_of(cell, ".mark")) for cell in all_of(opened, "#opened-panels figure")]
    assert marked == [True, False, False, True]
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    second = one(opened, "#opened-name").text
    assert second != first
    assert "rank 2 of 120" in one(opened, "#opened-rank").text
    opened.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert one(opened, "#opened-name").text == first
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert dialog.get_attribute("open") is None
    # the keyboard goes on where it was
    assert opened.switch_to.active_element == thumb


def test_names_are_text(opened: Any) -> None:
    assert NASTY in column(opened, "id")
    assert not opened.title.startswith("1")


def test_the_selection_controls_false_discoveries_and_is_downloaded(
    opened: Any, page: Path
) -> None:
    table = ScoreTable.read(page.parent / "scores.csv").ranked()
    wanted = [name for name, q in zip(table.id, table.q_value, strict=True) if q <= 0.2]
    write(one(opened, "#fdr"), "20")
    assert f"{len(wanted)} images selected" in one(opened, "#fdr-said").text
    one(opened, "#download").click()
    file = opened.downloads / "selection.csv"
    assert within(10, file.exists)
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == wanted
    assert [float(row["anomaly_score"]) for row in rows] == (
        table.anomaly_score[: len(wanted)].tolist()
    )
    file.unlink()
    write(one(opened, "#fdr"), "-3")
    assert "between 0.1 and 99" in one(opened, "#fdr-said").text
    assert not one(opened, "#download").is_enabled()


def test_an_empty_selection_says_why_and_what_would_help(
    opened: Any, page: Path, model: TrainedModel
) -> None:
    table = ScoreTable.read(page.parent / "scores.csv")
    highest = np.count_nonzero(table.p_value <= 1 / 200 + 1e-12)
    lowest = 100 * np.nanmin(table.q_value)
    fewest = model.calibration.fewest_selected(0.02, 118)
    assert lowest > 2
    assert highest < fewest
    write(one(opened, "#fdr"), "2")
    said = one(opened, "#fdr-said").text
    assert said.startswith(
        f"0 images selected by Benjamini-Hochberg. This rate needs at least {fewest} of the 118 "
        f"images above all 199 calibration images; there are {highest}. "
        f"From a rate of {lowest:.3g} % on, images are selected. With "
    )
    counted = re.search(
        rf"With (\d+) calibration images, the {highest} highest images would be selected at this "
        "rate if they scored above all of them.",
        said,
    )
    assert counted
    enough = Calibration(np.arange(float(counted[1])))
    assert enough.fewest_selected(0.02, 118) == highest
    assert not one(opened, "#download").is_enabled()
    write(one(opened, "#fdr"), "0.4")
    assert (
        "No image can be selected at this rate: 199 calibration images give no p-value below "
        "1/200 = 0.5 %" in one(opened, "#fdr-said").text
    )
    write(one(opened, "#fdr"), f"{lowest + 0.01}")
    assert "needs" not in one(opened, "#fdr-said").text


def test_the_slider_says_how_many_false_alarms_to_expect(
    opened: Any, page: Path, model: TrainedModel
) -> None:
    from selenium.webdriver.common.keys import Keys

    table = ScoreTable.read(page.parent / "scores.csv")
    slider = one(opened, "#slider")
    slider.send_keys(Keys.HOME)
    assert one(opened, "#rule-threshold").is_selected()
    above = np.count_nonzero(table.p_value <= 1 / 200 + 1e-12)
    low, high = model.calibration.expected_false_alarms(1 / 200, 118)
    said = one(opened, "#threshold-said").text
    assert said.startswith(f"{above} images reach a score of ")
    assert f"about 0.59 would reach it as false alarms (95 %: {low} to {high})" in said
    assert f"{above} images" in slider.get_attribute("aria-valuetext")
    before = one(opened, "#threshold-line").value_of_css_property("left")
    slider.send_keys(Keys.END)
    assert one(opened, "#threshold-said").text != said
    assert one(opened, "#threshold-line").value_of_css_property("left") != before
    assert f"{len(all_of(opened, '#rows tr.chosen'))}" == "50"


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_light_and_dark(opened: Any, dark: bool) -> None:
    with phone(opened, dark):
        assert opened.execute_script("return document.documentElement.scrollWidth") == 360
        ground = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(20, 23, 27)") == dark


@pytest.mark.slow
def test_an_evaluation_has_the_same_list_with_classes(
    browser: Any, model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lumpylens.report.style.DOTS_PER_INCH", 40)
    evaluate(
        model, normal=blobs(40, seed=5), anomalous=blobs(12, seed=6, bump=0.5), explain=3,
        out=tmp_path / "report", progress=False,
    )  # fmt: skip
    browser.get((tmp_path / "report" / "report.html").as_uri())
    choose(browser, "normal")
    assert column(browser, "class") == ["normal"] * 40
    assert "of them are normal" in one(browser, "#threshold-said").text
    assert len(all_of(browser, "#thumbs button")) == 24
    assert browser.get_log("browser") == []
