"""The page of `fit`: verdicts, titles, order, resuming, and what a browser shows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.lenses.catalogue import LATER_COLUMNS, MEANINGS, LensCatalogue, LensRow, p_words
from lumpylens.lenses.inflation import SEEN_SNR, with_p_values
from lumpylens.lenses.outputs import Outputs
from lumpylens.lenses.page import in_order, thumbnail_path, write_page
from lumpylens.lenses.pictures import figure_paths
from lumpylens.lenses.products import product_paths, write_regions
from lumpylens.lenses.verdict import CANDIDATE_P, Status, status_of, verdict_of
from lumpylens.report import listing
from lumpylens.report.figure_title import TITLE, write_title
from lumpylens.scale import fitting
from lumpylens.verbs.fit import fit


def row(name: str, p_value: float = math.nan, **changes) -> LensRow:
    known = LensRow(
        id=name, einstein_radius_arcsec=1.2, quality="good", digest=f"{name}-digest",
        perturber_log_evidence=5.0, perturber_einstein_radius_arcsec=0.1,
        perturber_log_evidence_multipoles=4.0, perturber_x_arcsec=0.5, perturber_y_arcsec=-0.25,
        residual_scatter=1.0, noise_maximum=2.5, noise_maximum_scale=0.35, inflation=2.0,
        perturber_p_value=p_value,
    )  # fmt: skip
    return replace(known, **changes)


COMPANION = {
    "companion_x_arcsec": -0.27, "companion_y_arcsec": 0.78, "companion_p_value": 0.02,
    "companion_einstein_radius_arcsec": 0.15, "without_companion_p_value": 0.004,
    "companion_log_evidence": 8.0,
}  # fmt: skip


def draw(outputs: Outputs, name: str) -> None:
    """Write what stands for the figures and products of a lens."""
    folders = [outputs.figures, outputs.report and outputs.report / "images"]
    for folder in filter(None, folders):
        for path in figure_paths(name, folder):
            Image.new("RGBA", (400, 30), "#ff000080").save(path, dpi=(200, 200))
    if outputs.report is not None:
        path = thumbnail_path(name, outputs.report / "images")
        Image.new("RGBA", (20, 20), "#00ff00").save(path)
    if outputs.products is not None:
        for path in product_paths(name, outputs.products):
            path.touch()


@pytest.fixture
def images():
    pixels = np.random.default_rng(0).normal(size=(4, 21, 21))
    return LensImages.from_arrays(
        pixels, ids=list("abcd"), noise=np.ones((21, 21)), psf=np.ones((3, 3)),
        pixel_scale_arcsec=0.1,
    )  # fmt: skip


@pytest.fixture
def fitted(monkeypatch):
    """Replace the fit itself; gives the ids that were really fitted, in order."""
    done: list[str] = []

    def stub(cutout, lens, seed, outputs):
        done.append(cutout.id)
        draw(outputs, cutout.id)
        gain = 20.0 + 10 * "abcd".index(cutout.id)
        return row(cutout.id, digest=lens.digest, perturber_log_evidence=gain)

    monkeypatch.setattr(fitting, "fit_lens", stub)
    return done


def title_of(path: Path) -> str:
    with Image.open(path) as picture:
        return picture.info[TITLE]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"p_value": 0.4}, Status.NO_PERTURBER, "no perturber: p = 0.4"),
        (
            {"p_value": 0.4, "perturber_limit_arcsec": 0.164},
            Status.NO_PERTURBER,
            "no perturber: p = 0.4; a perturber of Einstein radius above 0.16 arcsec near the arcs "
            "would have been seen",
        ),
        (
            {"p_value": 0.4, "perturber_limit_arcsec": 0.164, "perturber_limit_msun": 3.04e9},
            Status.NO_PERTURBER,
            "no perturber: p = 0.4; a mass above 3.0e9 Msun near the arcs would have been seen",
        ),
        (
            {"p_value": 0.004},
            Status.CANDIDATE,
            "candidate: p = 0.004, Einstein radius 0.10 arcsec at (+0.50, -0.25) arcsec "
            "from the lens",
        ),
        (
            {"p_value": 0.004, "perturber_mass_msun": 1.2e9,
             "perturber_log_evidence_multipoles": 2.0},
            Status.CANDIDATE,
            "candidate: p = 0.004, mass 1.2e9 Msun (Einstein radius 0.10 arcsec) at (+0.50, "
            "-0.25) arcsec from the lens; multipoles of the mass would explain 60% of its gain",
        ),
        (
            {"p_value": 0.004, "perturber_log_evidence_stars_halo": 1.0,
             "perturber_log_evidence_broken_power_law": 3.0, "perturber_p_value_any_mass": 0.2},
            Status.COMPLEX_MASS,
            "complex mass: p = 0.004 of a perturber in a power law, Einstein radius 0.10 arcsec at "
            "(+0.50, -0.25) arcsec from the lens; but p = 0.2 with stars and a dark halo, which "
            "would explain 80% of its gain",
        ),
        (
            {"p_value": 0.02, "perturber_p_value_any_mass": 0.2},
            Status.NO_PERTURBER,
            "no perturber: p = 0.02",
        ),
        (
            {"quality": "poor fit", "doubts": "poor-fit"},
            Status.DOUBTFUL,
            "in doubt: poor fit",
        ),
        (
            {"quality": "poor fit", "doubts": "poor-fit", "perturber_log_evidence": 300.0},
            Status.DOUBTFUL,
            "in doubt: poor fit; the gain of a perturber, 300 in log evidence, would be "
            "significant if the fit were right",
        ),
        (
            {"p_value": 0.02, **COMPANION},
            Status.LUMINOUS,
            "luminous: a mass is needed (p = 0.004 without one), and a companion that shines at "
            "(-0.27, +0.78) arcsec from the lens has it, Einstein radius 0.15 arcsec; with it, "
            "p = 0.02 of a dark one",
        ),
        (
            {"p_value": 0.02, **COMPANION, "without_companion_p_value": 0.01},
            Status.NO_PERTURBER,
            "no perturber: p = 0.02; the mass of a companion that shines at (-0.27, +0.78) arcsec "
            "from the lens is in the model",
        ),
        (
            {"p_value": 0.02, **COMPANION, "companion_p_value": 0.05},
            Status.NO_PERTURBER,
            "no perturber: p = 0.02; the mass of a companion that shines at (-0.27, +0.78) arcsec "
            "from the lens is in the model",
        ),
        (
            {"p_value": 0.004, **COMPANION},
            Status.CANDIDATE,
            "candidate: p = 0.004, Einstein radius 0.10 arcsec at (+0.50, -0.25) arcsec "
            "from the lens; the mass of a companion that shines at (-0.27, +0.78) arcsec from the "
            "lens is in the model",
        ),
        ({}, Status.UNTESTED, "not tested: no perturber could be seen anywhere in this image"),
        ({"error": "no PSF"}, Status.FAILED, "not fitted: no PSF"),
    ],
)  # fmt: skip
def test_a_verdict_is_one_sentence(changes, status, said):
    fitted_row = row("a", **changes)
    assert status_of(fitted_row) is status
    assert verdict_of(fitted_row) == said


def test_a_p_value_is_not_told_more_exactly_than_it_is_known():
    assert [p_words(p) for p in (0.4321, 1.0, 1.2e-5, 9.9e-6, 1e-30, math.nan)] == [
        "p = 0.43", "p = 1", "p = 1.2e-05", "p < 1e-5", "p < 1e-5", ""
    ]  # fmt: skip
    assert verdict_of(row("a", 1e-11)).startswith("candidate: p < 1e-5, Einstein")
    best = repr(LensCatalogue((row("a", 1e-11),))).splitlines()[-1]
    assert best == "  most significant perturber: a, p < 1e-5"


def test_a_p_value_at_the_limit_is_no_candidate():
    assert status_of(row("a", CANDIDATE_P)) is Status.NO_PERTURBER
    assert status_of(row("a", 0.99 * CANDIDATE_P)) is Status.CANDIDATE


def test_a_limit_is_the_mass_that_is_seen_through_the_inflation():
    unit = 2e11
    rows = [
        row("a", strength_error_arcsec2=1e-3, msun_per_square_arcsec=unit),
        row("b", strength_error_arcsec2=1e-3),
        row("c", strength_error_arcsec2=1e-3, doubts="poor-fit", msun_per_square_arcsec=unit),
        row("d"),
    ]
    first, second, third, fourth = with_p_values(rows)
    assert first.perturber_limit_arcsec**2 / 1e-3 / first.inflation == pytest.approx(SEEN_SNR)
    assert first.perturber_limit_msun == pytest.approx(unit * first.perturber_limit_arcsec**2)
    assert second.perturber_limit_arcsec == pytest.approx(first.perturber_limit_arcsec)
    for unknown in (second.perturber_limit_msun, third.perturber_limit_arcsec,
                    third.perturber_limit_msun, fourth.perturber_limit_arcsec):  # fmt: skip
        assert math.isnan(unknown)


def test_the_place_of_a_companion_is_known_and_that_of_a_dark_mass_is_not():
    plain, beside, doubtful = with_p_values([
        row("a", 0.5),
        row("b", 0.5, companion_log_evidence=2.0 * 2.2**2),
        row("c", 0.5, companion_log_evidence=8.0, doubts="poor-fit"),
    ])  # fmt: skip
    assert math.isnan(plain.companion_p_value)
    assert math.isnan(plain.without_companion_p_value)
    # Two standard deviations after an inflation of 2.2, one-sided.
    assert beside.companion_p_value == pytest.approx(0.02275, rel=1e-3)
    both = with_p_values([row("d", perturber_log_evidence=5.0 + 2.0 * 2.2**2)])[0]
    assert beside.without_companion_p_value == pytest.approx(both.perturber_p_value)
    assert beside.without_companion_p_value < beside.perturber_p_value
    assert math.isnan(doubtful.companion_p_value)


def test_a_candidate_keeps_its_gain_in_every_mass():
    gains = {
        "perturber_log_evidence": 200.0, "perturber_log_evidence_multipoles": 150.0,
        "perturber_log_evidence_broken_power_law": 180.0,
    }  # fmt: skip
    lost = {"perturber_log_evidence_stars_halo": 5.0}
    kept, none, doubtful, alone = with_p_values([
        row("a", **gains, perturber_log_evidence_stars_halo=160.0),
        row("b", **gains | lost),
        row("c", **gains | lost, doubts="poor-fit"),
        row("d", perturber_log_evidence=5.0, perturber_log_evidence_multipoles=math.nan),
    ])  # fmt: skip
    of_multipoles = with_p_values([row("e", perturber_log_evidence=150.0)])[0]
    assert kept.perturber_p_value < kept.perturber_p_value_any_mass < CANDIDATE_P
    assert kept.perturber_p_value_any_mass == pytest.approx(of_multipoles.perturber_p_value)
    assert status_of(kept) is Status.CANDIDATE
    assert none.perturber_p_value == kept.perturber_p_value
    assert none.perturber_p_value_any_mass == pytest.approx(alone.perturber_p_value)
    assert status_of(none) is Status.COMPLEX_MASS
    assert math.isnan(doubtful.perturber_p_value_any_mass)
    assert alone.perturber_p_value_any_mass == alone.perturber_p_value


def test_the_page_counts_luminous_lenses_as_tested(tmp_path):
    rows = [row("a", 0.02, **COMPANION), row("b", 0.3)]
    text = write_page(rows, tmp_path, "lenses").read_text()
    assert "<dt>luminous</dt>" in text
    assert "<dt>complex mass</dt><dd><span" not in text
    assert "Of 2 tested lenses" in text
    complex_mass = row("c", 0.001, perturber_p_value_any_mass=0.4)
    text = write_page([*rows, complex_mass], tmp_path, "lenses").read_text()
    assert "<dt>complex mass</dt><dd><span" in text
    assert "Of 3 tested lenses" in text


def test_the_page_begins_with_the_most_significant():
    rows = [
        row("failed", error="no PSF"), row("dull", 0.9), row("doubt", doubts="poor-fit"),
        row("clear", 0.001), row("large", doubts="poor-fit", perturber_log_evidence=300.0),
    ]  # fmt: skip
    assert [lens.id for lens in in_order(rows)] == ["clear", "dull", "large", "doubt", "failed"]


def test_a_table_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "fits.csv"
    LensCatalogue((row("a", 0.3, ra_deg=3.0),)).write(path)
    lines = [line.split(",") for line in path.read_text().splitlines()]
    assert tuple(lines[0][-len(LATER_COLUMNS) :]) == LATER_COLUMNS
    path.write_text("\n".join(",".join(line[: -len(LATER_COLUMNS)]) for line in lines) + "\n")
    (old,) = LensCatalogue.read(path)
    assert repr(old) == repr(row("a", 0.3))
    path.write_text(path.read_text().replace("slope", "pente"))
    with pytest.raises(DataError, match="lacks slope"):
        LensCatalogue.read(path)


def test_columns_keep_their_names_and_places():
    assert list(MEANINGS)[:3] == ["id", "einstein_radius_arcsec", "einstein_radius_err"]
    assert list(MEANINGS)[34] == "doubts"
    assert all(len(meaning) > 10 for meaning in MEANINGS.values())


def test_a_title_is_replaced_above_the_same_panels(tmp_path):
    panels = np.random.default_rng(0).integers(0, 255, (50, 700, 4), dtype=np.uint8)
    for name in ("a.png", "a-dark.png"):
        Image.fromarray(panels).save(tmp_path / name, dpi=(100, 100))
    heights = []
    for title in ("p = 0.4", "p = 0.2\n" + "reasons " * 60, "p = 0.1, $x_{1}", "p = 0.4 \udcff"):
        write_title(tmp_path, "a", title)
        for name in ("a.png", "a-dark.png"):
            with Image.open(tmp_path / name) as picture:
                above = picture.height - 50
                assert (np.asarray(picture)[above:] == panels).all()
                assert np.asarray(picture)[:above, :, 3].any(), "there is text"
        heights.append(above)
    assert heights[1] > 3 * heights[0] / 2
    assert heights[0] == heights[2] == heights[3]
    before = (tmp_path / "a.png").stat().st_mtime_ns
    write_title(tmp_path, "a", "p = 0.4 \udcff")
    assert (tmp_path / "a.png").stat().st_mtime_ns == before, "a title that is there stays"


def test_a_run_leaves_page_table_figures_and_titles(images, fitted, tmp_path):
    report = tmp_path / "page"
    rows = fit(images[:3], report=report, progress=False)
    assert {path.name for path in report.iterdir()} == {"report.html", "fits.csv", "images"}
    assert [repr(lens) for lens in LensCatalogue.read(report / "fits.csv")] == [
        repr(lens) for lens in rows
    ]
    page = (report / "report.html").read_text()
    for lens in rows:
        title = title_of(report / "images" / f"{lens.id}-dark.png")
        assert title.startswith(f"{lens.id}: Einstein radius 1.200 arcsec")
        assert title.endswith(verdict_of(lens))
        assert f'"images/{lens.id}-dark.png"' in page
        assert f'"images/thumb-{lens.id}.png"' in page


def test_a_finished_table_gets_its_page(images, fitted, tmp_path):
    """Figures that are missing are drawn, and nothing is ignored in silence."""
    out, report, products = tmp_path / "fits.csv", tmp_path / "page", tmp_path / "products"
    fit(images, out=out, progress=False)
    assert fitted == list("abcd")
    fit(images, out=out, report=report, progress=False)
    assert fitted[4:] == list("abcd")
    fit(images, out=out, report=report, progress=False)
    assert len(fitted) == 8
    (report / "images" / "c-dark.png").unlink()
    fit(images, out=out, report=report, progress=False)
    assert fitted[8:] == ["c"]
    out = tmp_path / "two.csv"
    fit(images[:2], out=out, progress=False)
    fit(images[:2], out=out, products=products, progress=False)
    assert fitted[9:] == ["a", "b"] * 2
    assert (products / "lenses.reg").read_text() == "icrs\n"
    (products / "b-fit.reg").unlink()
    fit(images[:2], out=out, products=products, progress=False)
    assert fitted[13:] == ["b"]


@pytest.mark.filterwarnings("ignore::lumpylens.errors.DataWarning")
def test_titles_follow_the_p_values(images, fitted, tmp_path, monkeypatch):
    """These change when other lenses are added; the figures themselves are not drawn again."""
    monkeypatch.setattr("lumpylens.lenses.inflation.FEWEST", 2)
    out, report = tmp_path / "fits.csv", tmp_path / "page"
    (first,) = fit(images[:1], out=out, report=report, progress=False)
    assert title_of(report / "images" / "a.png").endswith(verdict_of(first))
    again = fit(images, out=out, report=report, progress=False)
    assert fitted == list("abcd")
    assert verdict_of(again[0]) != verdict_of(first)
    assert title_of(report / "images" / "a.png").endswith(verdict_of(again[0]))


def test_only_the_first_ranks_of_a_finished_table_are_drawn_for_a_page(
    images, fitted, tmp_path, monkeypatch
):
    monkeypatch.setattr(listing, "THUMBNAILS", 2)
    out = tmp_path / "fits.csv"
    fit(images, out=out, progress=False)
    fit(images, out=out, report=tmp_path / "page", progress=False)
    assert sorted(fitted[4:]) == ["c", "d"], "the two with the largest gains"
    fit(images, out=out, figures=tmp_path / "figures", progress=False)
    assert sorted(fitted[6:]) == list("abcd"), "a folder of figures has all"


def test_a_run_that_is_stopped_has_a_page_and_goes_on(images, fitted, tmp_path, monkeypatch):
    out, report = tmp_path / "fits.csv", tmp_path / "page"
    stub = fitting.fit_lens

    def interrupted(cutout, lens, seed, outputs):
        if cutout.id == "c":
            assert (report / "report.html").is_file(), "it is there from the start"
            raise KeyboardInterrupt
        return stub(cutout, lens, seed, outputs)

    monkeypatch.setattr(fitting, "fit_lens", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(images, out=out, report=report, progress=False)
    assert '"images/b.png"' in (report / "report.html").read_text()
    monkeypatch.setattr(fitting, "fit_lens", stub)
    fit(images, out=out, report=report, progress=False)
    assert fitted == list("abcd")


def test_a_folder_with_other_files_is_refused_before_the_work(images, fitted, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(DataError, match="holds other files"):
        fit(images, report=tmp_path / "mine", progress=False)
    (tmp_path / "file").touch()
    for word in ("figures", "products"):
        with pytest.raises(DataError, match="file is a file; give a folder"):
            fit(images, **{word: tmp_path / "file"}, progress=False)
    assert fitted == []


def test_the_page_and_its_table_may_share_a_folder(images, fitted, tmp_path):
    report = tmp_path / "page"
    fit(images[:2], out=report / "fits.csv", report=report, progress=False)
    with pytest.warns(match="not among these images"):
        fit(images[2:], out=report / "fits.csv", report=report, progress=False)
    assert sorted(LensCatalogue.read(report / "fits.csv")["id"]) == list("abcd")
    assert fitted == list("abcd")


def test_regions_are_those_of_ds9(tmp_path):
    near = row(
        "a {b}\n", 0.001, ra_deg=150.25, dec_deg=-2.5, perturber_ra_deg=150.2499,
        perturber_dec_deg=-2.4999,
    )  # fmt: skip
    write_regions([near, row("no sky", 0.5), replace(near, perturber_p_value=0.5)], tmp_path)
    assert (tmp_path / "lenses.reg").read_text().splitlines()[:3] == [
        "icrs",
        'circle(150.25000000,-2.50000000,1.2000") # color=white text={a (b) }',
        'circle(150.24990000,-2.49990000,0.1000") # color=red '
        "text={best position of a perturber (candidate)}",
    ]
    assert (
        "color=cyan text={best position of a perturber (no perturber)}"
        in (tmp_path / "lenses.reg").read_text()
    )


def test_names_are_text_and_addresses_are_escaped(tmp_path):
    name = "</script><b>#1 100%"
    (tmp_path / "images").mkdir()
    draw(Outputs(report=tmp_path), name)
    page = write_page([row(name, 0.2)], tmp_path, "memory").read_text()
    assert "</script><b>" not in page
    assert "%23" in page
