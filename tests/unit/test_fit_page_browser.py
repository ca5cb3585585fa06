"""The page of `fit` in a real browser: it sorts, filters, and opens the figure of a lens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_fit_page import row
from test_report_browser import (  # noqa: F401
    all_of,
    browser,
    choose,
    column,
    one,
    phone,
    pytestmark,
    within,
    write,
)  # fmt: skip

from lumpylens.lenses.page import thumbnail_path, write_page
from lumpylens.lenses.pictures import figure_paths
from lumpylens.lenses.verdict import verdict_of


@pytest.fixture(scope="module")
def rows():
    """120 lenses: one candidate, one in doubt, one without a fit."""
    dull = [row(f"lens {k}", 0.02 + 0.008 * k, slope=1.9 + 0.002 * k) for k in range(117)]
    return [
        *dull,
        row("bright", 2e-9, slope=2.5, ra_deg=150.25, dec_deg=-2.123456789),
        row("odd", doubts="poor-fit", quality="poor fit on the arcs"),
        row("bare", error="no noise map"),
    ]


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fits") / "page"
    (folder / "images").mkdir(parents=True)
    for fitted_row in rows[:30] + rows[117:119]:
        for path in (*figure_paths(fitted_row.id, folder / "images"),
                     thumbnail_path(fitted_row.id, folder / "images")):  # fmt: skip
            Image.new("RGB", (40, 30)).save(path)
    return write_page(rows, folder, "memory")


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:  # noqa: F811
    browser.get(page.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def test_it_has_a_row_and_a_verdict_for_every_lens(opened, rows):
    assert column(opened, "id")[:2] == ["bright", "lens 0"]
    verdicts = [cell.text for cell in all_of(opened, "#rows td.note-cell")]
    assert verdicts[0] == verdict_of(rows[117])
    assert column(opened, "perturber_p_value")[:2] == ["< 1e-5", "0.02"]
    assert column(opened, "dec_deg")[:2] == ["-2.123457", "–"]
    assert "120 of 120 lenses" in one(opened, "#shown-said").text
    assert one(opened, "header h1").text == "Is there a perturber in one of these 120 lenses?"
    assert one(opened, ".numbers .first .value").text == "1"
    assert "1.2 expected by chance" in one(opened, ".numbers .first").text


def test_it_sorts_and_filters(opened, rows):
    opened.execute_script("document.querySelector('#rows th[data-key=slope] button').click()")
    assert column(opened, "id")[0] == "bright"
    write(one(opened, "#query"), "slope<1.95 perturber_p_value>0.1")
    expected = [r.id for r in rows if r.slope < 1.95 and r.perturber_p_value > 0.1]
    assert sorted(column(opened, "id")) == sorted(expected)
    write(one(opened, "#query"), "poor")
    assert column(opened, "id") == ["odd"]
    one(opened, "#query").clear()
    one(opened, "#query").send_keys(" ")
    for status, name in (("candidate", "bright"), ("in doubt", "odd"), ("not fitted", "bare")):
        choose(opened, status)
        assert column(opened, "id") == [name]


def test_a_lens_opens_with_its_figure(opened, rows):
    thumb = one(opened, "#thumbs button")
    assert "p < 1e-5" in thumb.text
    assert "candidate" in thumb.text
    picture = "return document.querySelector('#thumbs img').naturalWidth"
    assert within(5, lambda: opened.execute_script(picture) == 40)
    thumb.click()
    assert one(opened, "#opened-sentence").text == verdict_of(rows[117])
    assert not one(opened, "#opened-note").is_displayed()
    figure = "return document.querySelector('#opened-figure img')?.naturalWidth"
    assert within(5, lambda: opened.execute_script(figure) == 40)
    for _ in range(118):
        one(opened, "#next").click()
    assert one(opened, "#opened-name").text == "odd"
    one(opened, "#next").click()
    assert one(opened, "#opened-sentence").text == "not fitted: no noise map"
    assert opened.execute_script(figure) is None
    assert "rank 120 of 120, not fitted" in one(opened, "#opened-rank").text


def test_a_thumbnail_is_not_outlined_as_if_it_were_selected(opened):
    assert not all_of(opened, "#thumbs .chosen, #rows .chosen")


@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_a_phone_in_light_and_dark(opened, dark):
    with phone(opened, dark):
        assert opened.execute_script("return document.documentElement.scrollWidth") == 360
        opened.execute_script("document.querySelector('#thumbs button').click()")
        source = "return document.querySelector('#opened-figure img')?.currentSrc"
        assert within(5, lambda: opened.execute_script(source).endswith("-dark.png") == dark)
