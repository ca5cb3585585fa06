"""`explain`: every image gets a sentence, its scores and a picture, or the reason why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from mean_image import MeanImage, blobs
from PIL import Image

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.report.explained import draw_explanation, figure_png
from lumpylens.report.explanations import Explanations, file_name
from lumpylens.report.style import DARK, LIGHT
from lumpylens.results.calibration import Calibration
from lumpylens.results.explanation import Explanation, Peak, PositionMap, ScorePart, Surprise
from lumpylens.store.trained import TrainedModel
from lumpylens.verbs.explain import explain
from lumpylens.verbs.score import score

SIDE = 24


@pytest.fixture(scope="module")
def model() -> TrainedModel:
    detector = MeanImage().fit(blobs(60, seed=0))
    return TrainedModel(detector, Calibration(detector.anomaly_score(blobs(199, seed=1))), {})


@pytest.fixture(scope="module")
def images() -> LensImages:
    pixels = np.concatenate([blobs(4, seed=2), blobs(4, seed=3, bump=0.8)])
    pixels[1], pixels[2] = 2.5, np.exp(-9 * blobs(30, seed=2)[9])
    return LensImages.from_arrays(pixels, ids=[f"set/lens {k}.jpg" for k in range(8)])


@pytest.fixture(scope="module")
def found(model: TrainedModel, images: LensImages) -> Explanations:
    return explain(model, images, progress=False)


def test_it_says_where_an_image_departs(found: Explanations, images: LensImages) -> None:
    assert [one.id for one in found] == images.ids
    for one in found[4:]:
        assert one.peak is not None
        # the planted spot is a quarter of the side right of the centre
        assert abs(one.peak.column_px - (SIDE - 1) / 2 - SIDE / 4) <= 2
        assert abs(one.peak.row_px - (SIDE - 1) / 2) <= 2
        assert f"column {one.peak.column_px:.0f}, row {one.peak.row_px:.0f}" in one.sentence
        assert one.residual is not None
        assert one.residual[int(one.peak.row_px), int(one.peak.column_px)] > 0.3
        assert one.maps[0].name == "loss"


def test_scores_and_p_values_are_those_of_the_table(
    model: TrainedModel, images: LensImages, found: Explanations
) -> None:
    table = score(model, images, progress=False)
    for k, one in enumerate(found):
        if one.error:
            continue
        first, second = one.scores
        assert first.value == pytest.approx(table.anomaly_score[k], rel=1e-6)
        assert second.value == pytest.approx(table.components["free_mass"][k], rel=1e-6)
        np.testing.assert_allclose(first.p_value, table.p_value[k])
    assert found[5].scores[0].p_text == "p ≤ 0.005"


def test_what_cannot_be_explained_says_why(found: Explanations) -> None:
    assert "constant" in found[1].error
    assert found[1].image is None
    assert "not like the training images" in found[2].warning
    assert found[2].scores[0].p_text == ""
    with pytest.raises(ValueError, match="constant"):
        draw_explanation(LIGHT, found[1])


def test_one_figure_for_each_image(model: TrainedModel, images: LensImages, tmp_path: Path) -> None:
    shown = explain(model, images, ["lens 5.jpg", "set/lens 1.jpg", "set/lens 0.jpg"],
                    out=tmp_path / "new" / "figures", progress=False)  # fmt: skip
    assert [one.id for one in shown] == ["set/lens 5.jpg", "set/lens 1.jpg", "set/lens 0.jpg"]
    names = sorted(path.name for path in (tmp_path / "new" / "figures").iterdir())
    assert names == ["set_lens_0.png", "set_lens_5.png"]
    with Image.open(tmp_path / "new" / "figures" / names[0]) as picture:
        assert picture.width > 1000


def test_mistakes_are_named_before_the_work(
    model: TrainedModel, images: LensImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeanImage, "_score_batch", None)
    with pytest.raises(DataError, match=r"no image called set/lens 9\.jpg .* did you mean set/"):
        explain(model, images, "set/lens 9.jpg", progress=False)
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "figures"):
        with pytest.raises(DataError, match="file"):
            explain(model, images, out=place, progress=False)
    with pytest.raises(ModelError, match="no device called 'tpu'"):
        explain(model, images, device="tpu", progress=False)


def test_names_of_files_are_safe_and_unlike() -> None:
    assert file_name("../../etc/passwd", set()) == "etc_passwd"
    assert file_name("a\udcff<b>.fits.gz", set()) == "a_b"
    assert file_name("...", set()) == "image"
    assert len(file_name("x" * 500, set())) == 100


def test_no_part_has_a_p_value_below_what_normal_images_can_tell() -> None:
    assert ScorePart("residual", 9.0, 1e-9, smallest_p_value=0.01).p_value == 0.01
    parts = (
        ScorePart("anomaly_score", 9.0),
        ScorePart("residual", 8.0, 0.001, smallest_p_value=0.001),
        ScorePart("perturbation", 7.0, 0.3),
        ScorePart("free_mass", 6.0),
        ScorePart("parameters", 5.0, 0.1, smallest_p_value=0.2),
    )
    nineteen = Calibration(np.linspace(0, 8.9, 19))
    found = Explanation(scores=parts, sentence="Odd").calibrated(nineteen)
    assert [part.p_text for part in found.scores] == [
        "p ≤ 0.05", "p ≤ 0.05", "p = 0.3", "", "p ≤ 0.2"
    ]  # fmt: skip
    assert [part.value for part in found.scores] == [9.0, 8.0, 7.0, 6.0, 5.0]
    assert found.sentence == "Odd; score above all 19 normal images"
    assert Explanation(error="constant").calibrated(nineteen).scores == ()


def test_a_score_that_is_not_to_be_trusted_is_not_compared() -> None:
    odd = Explanation(scores=(ScorePart("anomaly_score", 5.0),), sentence="Odd", warning="foreign")
    found = odd.calibrated(Calibration(np.arange(9.0)))
    assert (found.sentence, found.scores[0].p_text) == ("Odd", "")
    trusted = replace(odd, warning="").calibrated(Calibration(np.arange(9.0)))
    assert trusted.sentence == "Odd; score above 5 of 9 normal images"


@pytest.fixture
def whole() -> Explanation:
    rng = np.random.default_rng(0)
    image = blobs(1, seed=4)[0]
    values = rng.normal(size=(10, 10)).astype(np.float32)
    values[0] = np.nan
    view = (3.5, 19.5, 3.5, 19.5)
    return Explanation(
        id="<b>$x_1$</b>\n\udcff", image=image, model=image, residual=image, sentence="a " * 300,
        scores=tuple(ScorePart(f"part_{k}", 10.0**k, 0.5) for k in range(6)),
        surprises=(Surprise("$radius", 21.0, 20.0, "px", 14.0), Surprise("q", 1, 1, "", 0.0)),
        maps=(
            PositionMap("perturbation", "where", values, view, "sigma", True),
            PositionMap("sensitivity", "how", np.abs(values), view, "%", False),
            PositionMap("nothing", "none", np.full((4, 4), np.nan, np.float32), view, "%", False),
        ),
        peak=Peak(12.0, 12.0, "3 sigma"), ring_px=(11.5, 11.5, 5.0), view_px=view,
        warning="odd",
    )  # fmt: skip


@pytest.mark.slow
def test_all_of_an_explanation_is_drawn(whole: Explanation) -> None:
    light, dark = figure_png(whole), figure_png(whole, DARK)
    assert light[:4] == dark[:4] == b"\x89PNG"
    assert light != dark
    figure = draw_explanation(LIGHT, whole)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == [
        "image", "smooth model", "image − model", "where", "how", "none",
        "surprise, in sigma of normal lenses",
    ]  # fmt: skip
    texts = [text.get_text() for text in figure.texts]
    assert "<b>$x_1$</b> �" in texts
    assert "part 5" in texts
    # The whole sentence, on as many lines as it takes.
    assert sum(text.count("a") for text in texts if set(text) <= {"a", " ", "."}) == 300
    assert "Warning: odd." in texts
    assert "Columns and rows in pixels; row 0 is at the bottom." in texts


def test_the_place_is_marked_on_the_image_and_on_the_map(whole: Explanation) -> None:
    axes = [axes for axes in draw_explanation(LIGHT, whole).axes if axes.get_title(loc="left")]
    marked = [panel.get_title(loc="left") for panel in axes[:6] if panel.lines]
    assert marked == ["image", "where"]
    for panel in (axes[0], axes[3]):
        assert {(*line.get_xdata(), *line.get_ydata()) for line in panel.lines} == {(12.0, 12.0)}
    assert "+ 3 sigma" in [text.get_text() for text in axes[3].texts]


def test_ticks_are_pixels_and_arcsec_where_the_scale_is_known(whole: Explanation) -> None:
    image = draw_explanation(LIGHT, replace(whole, pixel_scale_arcsec=0.5)).axes[0]
    FigureCanvasAgg(image.figure).draw()
    assert "12" in [tick.get_text() for tick in image.get_xticklabels()]
    above, right = image.child_axes
    # From the middle of 24 px: 11.5 px.
    assert above.get_xlim() == pytest.approx(((3.5 - 11.5) / 2, (19.5 - 11.5) / 2))
    assert right.get_ylim() == pytest.approx(((3.5 - 11.5) / 2, (19.5 - 11.5) / 2))
    assert "−2″" in [tick.get_text() for tick in above.get_xticklabels()]
    assert draw_explanation(LIGHT, whole).axes[0].child_axes == []


@pytest.mark.slow
def test_a_notebook_shows_figures_and_reasons(found: Explanations) -> None:
    shown = found[:3]._repr_html_()
    assert shown.count("<img") == 2
    assert "set/lens 1.jpg: " in shown
    assert repr(found[:2]).count("\n") == 1


def test_a_data_frame_has_every_score_and_its_p_value(found: Explanations) -> None:
    frame = found.to_pandas()
    assert frame["id"].tolist() == [one.id for one in found]
    assert frame["where"].tolist() == [one.peak_words for one in found]
    assert frame["where"][5].endswith("row 0 is at the bottom")
    assert frame["p_anomaly_score"][5] == found[5].scores[0].p_value
    assert np.isnan(frame["anomaly_score"][1])
    assert "constant" in frame["error"][1]
