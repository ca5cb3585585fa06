"""`sensitivity`: rows for good and bad lenses, going on, ranks, options that make no sense."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lumpylens import sensitivity
from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, DataWarning
from lumpylens.lenses.sensitivity_maps import map_path
from lumpylens.lenses.sensitivity_run import Measurement
from lumpylens.lenses.sensitivity_table import (
    AREAS,
    SensitivityRow,
    SensitivityTable,
    with_ranks,
)

DETECTIONS = {"a": 0.1, "b": 0.0, "d": 0.4}


@pytest.fixture
def images():
    random = np.random.default_rng(0)
    pixels = random.normal(size=(4, 21, 21)).astype(np.float32)
    return LensImages.from_arrays(
        pixels, ids=["a", "b", "c", "d"], noise=np.ones((21, 21)), psf=np.ones((3, 3))
    )


@pytest.fixture
def table_of_redshifts(tmp_path):
    path = tmp_path / "z.csv"
    path.write_text("id,lens_redshift,source_redshift\na,0.2,0.6\nc,0.2,0.7\nd,0.3,0.9\n")
    return path


@pytest.fixture
def computed(monkeypatch):
    """Replace the computation itself; gives the ids that were really computed, in order."""
    done: list[str] = []

    def stub(self):
        name = self.cutout.id
        done.append(name)
        if name == "c":
            raise ValueError("no minimum\nhere")
        if self.maps is not None:
            map_path(name, self.maps).touch()
        areas = {column: mass / 1e10 for mass, column in AREAS.items()}
        return SensitivityRow(id=name, expected_detections=DETECTIONS[name], **areas)

    monkeypatch.setattr(Measurement, "_row", stub)
    return done


def test_every_lens_gets_a_row_and_a_bad_one_a_reason(images, table_of_redshifts, computed):
    rows = sensitivity(images, redshifts=table_of_redshifts, progress=False)
    assert [row.id for row in rows] == ["a", "b", "c", "d"]
    assert computed == ["a", "c", "d"]
    assert "give --redshifts" in rows[1].error
    assert rows[2].error == "the fit broke down: no minimum here"
    assert rows["rank"][0] == 2.0
    assert math.isnan(rows[1].rank)
    assert [row.id for row in rows.ranked] == ["d", "a"]
    assert [row.id for row in rows.failed] == ["b", "c"]
    assert "expected detections: 0.5 in 2 lenses, 0.4 of them in d" in repr(rows)
    assert "<table>" in rows._repr_html_()
    assert list(rows.to_pandas()["id"]) == ["a", "b", "c", "d"]


def test_a_run_goes_on_where_it_was_stopped(images, table_of_redshifts, computed, tmp_path):
    out = tmp_path / "s.csv"
    options = {"redshifts": table_of_redshifts, "out": out, "progress": False}
    with pytest.warns(DataWarning, match="belong to no lens"):
        sensitivity(images[:1], **options)
    rows = sensitivity(images, **options)
    assert computed == ["a", "c", "d"]
    assert [repr(row) for row in SensitivityTable.read(out)] == [repr(row) for row in rows]
    # What failed is tried again; other settings are other numbers.
    sensitivity(images, **options)
    assert computed[3:] == ["c"]
    sensitivity(images, **options, significance=3.0)
    assert computed[4:] == ["a", "c", "d"]


def test_rows_of_other_lenses_stay_in_the_table(images, table_of_redshifts, computed, tmp_path):
    out = tmp_path / "s.ecsv"
    options = {"redshifts": table_of_redshifts, "out": out, "progress": False}
    with pytest.warns(DataWarning, match="2 ids"):
        sensitivity(images[[0]], **options)
    with pytest.warns(DataWarning, match="2 ids"):
        rows = sensitivity(images[[3]], **options)
    assert [row.id for row in rows] == ["d"]
    held = SensitivityTable.read(out)
    assert [row.id for row in held] == ["d", "a"]
    assert held["rank"] == [1.0, 2.0], "ranks are those among all lenses of the table"


def test_a_lens_without_its_map_is_computed_again(images, table_of_redshifts, computed, tmp_path):
    options = {"redshifts": table_of_redshifts, "out": tmp_path / "s.csv", "progress": False,
               "maps": tmp_path / "maps"}  # fmt: skip
    sensitivity(images, **options)
    map_path("d", tmp_path / "maps").unlink()
    sensitivity(images, **options)
    assert computed == ["a", "c", "d", "c", "d"]


def test_what_was_computed_is_kept_when_a_run_is_stopped(
    images, table_of_redshifts, computed, monkeypatch, tmp_path
):
    stub = Measurement._row

    def stopped(self):
        if self.cutout.id == "d":
            raise KeyboardInterrupt
        return stub(self)

    monkeypatch.setattr(Measurement, "_row", stopped)
    out = tmp_path / "s.csv"
    with pytest.raises(KeyboardInterrupt):
        sensitivity(images, redshifts=table_of_redshifts, out=out, progress=False)
    assert [row.id for row in SensitivityTable.read(out)] == ["a", "b", "c"]


def test_doubtful_and_failed_lenses_have_no_rank():
    row = SensitivityRow(id="x", expected_detections=1.0, best_snr_1e10=1.0)
    rows = [
        replace(row, expected_detections=0.0),
        replace(row, doubts="poor-fit", expected_detections=9.0),
        row,
        SensitivityRow(id="y", error="no noise map"),
        replace(row, expected_detections=0.0, best_snr_1e10=2.0),
    ]
    ranks = [row.rank for row in with_ranks(rows)]
    assert (ranks[0], ranks[2], ranks[4]) == (3.0, 1.0, 2.0)
    assert math.isnan(ranks[1])
    assert math.isnan(ranks[3])


def test_without_any_redshift_one_line_says_what_to_do(images, computed):
    with pytest.raises(DataError, match=r"none of the 4 images.*first is a: no redshifts.*table"):
        sensitivity(images, progress=False)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"profile": "point"}, "profile is nfw or pseudo-jaffe, got 'point'"),
        ({"significance": 0.0}, "significance is a signal-to-noise ratio above 0, got 0"),
        ({"concentration": 100.0}, "concentration lies between 0.1 and 10, got 100"),
        ({"concentration": 2.0, "profile": "pseudo-jaffe"}, "a number of nfw alone"),
        ({"fraction": 1.5}, "fraction lies between 0 and 1, got 1.5"),
        ({"workers": 0}, "at least one worker is needed, got 0"),
        ({"figure": "areas.pdf"}, "the figure is a PNG file, got areas.pdf"),
        ({"out": "s.txt"}, "the suffix .txt"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(images, options, line):
    with pytest.raises(DataError, match=line):
        sensitivity(images, progress=False, **options)


def test_maps_are_not_written_into_a_file(images, tmp_path):
    (tmp_path / "maps").touch()
    with pytest.raises(DataError, match="maps is a file; give a folder"):
        sensitivity(images, maps=tmp_path / "maps", progress=False)


def test_a_table_of_fits_is_no_table_of_sensitivities(images, table_of_redshifts, tmp_path):
    out = tmp_path / "fits.csv"
    out.write_text("id,einstein_radius_arcsec\na,1.0\n")
    with pytest.raises(DataError, match="no table of sensitivities"):
        sensitivity(images, redshifts=table_of_redshifts, out=out, progress=False)


def test_the_figure_shows_areas_of_lenses_without_doubt(
    images, table_of_redshifts, computed, monkeypatch, tmp_path
):
    figure = tmp_path / "areas.png"
    sensitivity(images, redshifts=table_of_redshifts, figure=figure, progress=False)
    with Image.open(figure) as picture:
        assert picture.size[0] > 1000
    doubtful = SensitivityRow(id="a", doubts="poor-fit")
    monkeypatch.setattr(Measurement, "_row", lambda _: doubtful)
    with pytest.warns(DataWarning, match="is not drawn: no lens was fitted without doubt"):
        sensitivity(images[[0, 2, 3]], redshifts=table_of_redshifts, figure=figure, progress=False)


def test_a_map_that_cannot_be_written_is_an_error_of_its_lens(
    images, table_of_redshifts, monkeypatch
):
    def full(self):
        raise DataError(f"cannot write {self.cutout.id}: no space left")

    monkeypatch.setattr(Measurement, "_row", full)
    rows = sensitivity(images, redshifts=table_of_redshifts, progress=False)
    assert rows[0].error == "cannot write a: no space left"
