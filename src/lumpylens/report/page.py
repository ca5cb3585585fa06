"""The report of an evaluation or of a scored list: one HTML page and its pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from lumpylens.data.shortcuts import TRIVIAL_STATISTICS
from lumpylens.report import figures
from lumpylens.report.listing import write_listing
from lumpylens.report.pictures import stretch_tables
from lumpylens.report.place import IMAGES, PAGE
from lumpylens.report.strips import residual_range, write_example
from lumpylens.report.style import save_both
from lumpylens.results.evaluation import EvaluationData
from lumpylens.results.examples import Example
from lumpylens.results.metrics import RocCurve, roc_curve
from lumpylens.results.ranking import Ranking
from lumpylens.results.score_table import FIRST_COMPONENT

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render_page", "write_list_report", "write_report"]

GROUPS = {
    "highest": ("Highest ranked", "The most anomalous of all images, of either class."),
    "false_alarms": ("Normal images with the highest scores", ""),
    "missed": ("Anomalous images with the lowest scores", ""),
    "lowest": ("Lowest ranked", "The least anomalous of all images, of either class."),
    "drawn": ("Drawn at random", "Half from each class, whatever their scores."),
}
"""Heading and text of each group of examples; `mistakes` says how many there are of two of them."""
PART_NAMES = {
    "train": "training part",
    "validation": "validation part",
    "calibration": "calibration part",
    "test": "test part (never seen)",
}
ROC_PARTS = {"train": "training data", "test": "validation data (never seen)"}
"""Names that the challenge uses for the two parts. Nothing about the model was chosen on the test
part."""


def write_report(evaluation: EvaluationData, folder: str | Path) -> Path:
    """Write ``report.html`` and the pictures it shows.

    The page works from the disk: relative files, no request to anywhere.

    Parameters
    ----------
    evaluation : EvaluationData
    folder : str or Path
        An existing folder.

    Returns
    -------
    Path
        The page.
    """
    place = Path(folder)
    (place / IMAGES).mkdir(exist_ok=True)
    figures = draw_figures(evaluation, place / IMAGES)
    groups, span = draw_examples(evaluation, place / IMAGES)
    ranking = evaluation.ranking
    return render(
        place,
        m=evaluation.metrics,
        figures=figures,
        groups=groups,
        residual_span=span,
        rows=table_rows(evaluation.metrics),
        part_rows=[
            (PART_NAMES[part], numbers) for part, numbers in evaluation.metrics["splits"].items()
        ],
        best_trivial=best_trivial(evaluation.metrics["audit"]["trivial"]),
        trivial_meaning=TRIVIAL_STATISTICS,
        listing=write_listing(ranking, place / IMAGES),
        fdr=ranking.fdr,
        n_calibration=len(evaluation.calibration),
    )


def write_list_report(ranking: Ranking, folder: str | Path) -> Path:
    """Write ``report.html`` of a scored list, and the pictures it shows.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        An existing folder.

    Returns
    -------
    Path
        The page.
    """
    place = Path(folder)
    (place / IMAGES).mkdir(exist_ok=True)
    return render(
        place,
        m=None,
        figures={},
        about=ranking.about,
        table=ranking.table,
        listing=write_listing(ranking, place / IMAGES),
        fdr=ranking.fdr,
        n_calibration=len(ranking.calibration),
        smallest_p_value=ranking.calibration.smallest_p_value,
    )


def render(place: Path, **values: Any) -> Path:
    """Fill the template of scored images, and write the page."""
    text = render_page("report.html.j2", **values)
    # Names of files may hold bytes that are no UTF-8.
    (place / PAGE).write_text(text, encoding="utf-8", errors="backslashreplace")
    return place / PAGE


def render_page(template: str, **values: Any) -> str:
    """Fill a template; every value is escaped."""
    return environment().get_template(template).render(**values)


def environment() -> Environment:
    """Environment of the templates, which escapes every value."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("lumpylens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"zip": zip, "stretches": stretch_tables()}
    templates.filters |= {
        "number": number,
        "rate": rate,
        "interval": interval,
        "rate_interval": rate_interval,
    }
    return templates


def number(value: float | None, digits: int = 4) -> Markup:
    """Write a number with few digits and powers of ten as superscripts; a dash if there is none."""
    if value is None or math.isnan(value):
        return Markup("&ndash;")
    mantissa, _, power = f"{value:.{digits}g}".partition("e")
    return Markup(f"{mantissa}&times;10<sup>{int(power)}</sup>" if power else mantissa)


def rate(value: float | None) -> str:
    """Write a rate in [0, 1], with more digits where it is close to either end."""
    return "\N{EN DASH}" if value is None else f"{value:.{rate_digits(value)}f}"


def rate_digits(value: float) -> int:
    """Number of decimals that leaves two significant digits of the distance to the nearer end."""
    margin = min(value, 1 - value)
    return min(max(math.ceil(-math.log10(margin)) + 1, 3), 5) if margin > 0 else 3


def interval(numbers: Mapping[str, float], key: str = "auc") -> str:
    """Write both ends of an interval, with the digits of the lower one."""
    low, high = numbers[f"{key}_low"], numbers[f"{key}_high"]
    digits = rate_digits(low)
    return f"{low:.{digits}f} to {high:.{digits}f}"


def rate_interval(metrics: Mapping[str, Any], fpr: str) -> str:
    """Write the `interval` of the true-positive rate at a false-positive rate."""
    ends = {f"tpr_{end}": metrics[f"tpr_at_fpr_{end}"][fpr] for end in ("low", "high")}
    return interval(ends, "tpr")


def table_rows(metrics: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Rows of the table of metrics: the score, then each component."""
    score = {**metrics, "wasserstein": metrics["wasserstein_score"]}
    return [("anomaly score", score), *metrics["components"].items()]


def best_trivial(areas: Mapping[str, Mapping[str, float]]) -> tuple[str, float] | None:
    """Name and mirrored AUC of the trivial statistic that separates the classes best."""
    values = [(name, figures.mirrored(area)[0]) for name, area in areas.items()]
    return max(values, key=lambda pair: pair[1], default=None)


def draw_figures(evaluation: EvaluationData, folder: Path) -> dict[str, str]:
    """Draw every figure that the numbers allow; name -> alternative text."""
    m, rows = evaluation.metrics, evaluation.rows()
    scores = {name: table.anomaly_score for name, table in rows.items()}
    captions: dict[str, str] = {}

    losses = {name: table.components[FIRST_COMPONENT] for name, table in rows.items()}
    losses = {name: column[np.isfinite(column)] for name, column in losses.items()}
    if all(map(len, losses.values())):
        label = "reconstruction loss (mean squared error per pixel)"
        save_both(lambda t: figures.distribution(t, losses, label, None), folder, "loss")
        captions["loss"] = histogram_caption("reconstruction loss", losses)

    strictest = strictest_point(m)
    line = strictest and (f"FPR {float(strictest[0]):.0%}", strictest[1]["threshold"])
    save_both(lambda t: figures.distribution(t, scores, "anomaly score", line), folder, "score")
    captions["score"] = histogram_caption("anomaly score", scores)

    curve = roc_curve(scores["normal"], scores["anomalous"])
    save_both(lambda t: figures.roc(t, curve), folder, "roc")
    captions["roc"] = f"ROC curve with its confidence band, AUC {rate(m['auc'])}."
    save_both(lambda t: figures.roc_low(t, curve), folder, "roc-low")
    captions["roc-low"] = "ROC curve on a logarithmic axis of false-positive rates: " + ", ".join(
        f"true-positive rate {rate(value)} at {fpr}" for fpr, value in m["tpr_at_fpr"].items()
    )

    parts: dict[str, RocCurve] = {}
    for part in ROC_PARTS:
        if part in m["splits"]:
            normal, anomalous = (
                evaluation.rows(part)[name].anomaly_score for name in ("normal", "anomalous")
            )
            parts[part] = roc_curve(normal, anomalous)
    if "train" in parts:
        labels = {
            part: f"{ROC_PARTS[part]}: AUC {rate(m['splits'][part]['auc'])}" for part in parts
        }
        save_both(lambda t: figures.roc_parts(t, parts, labels), folder, "roc-parts")
        captions["roc-parts"] = "ROC curves of " + " and of ".join(labels.values())

    epochs = [row for row in evaluation.history if "train_loss" in row]
    if epochs:
        save_both(lambda t: figures.training(t, epochs), folder, "training")
        captions["training"] = f"Training and validation loss over {len(epochs)} epochs."

    bars = [("score", "anomaly score", m)]
    bars += [("component", name, area) for name, area in m["audit"]["components"].items()]
    bars += [("trivial", name, area) for name, area in m["audit"]["trivial"].items()]
    save_both(lambda t: figures.audit(t, bars), folder, "audit")
    captions["audit"] = "Bars of the AUC of the score, of each component and of trivial statistics."

    p_values = rows["normal"].p_value[np.isfinite(rows["normal"].p_value)]
    if len(p_values):
        rates = figures.CalibrationRates.of(evaluation.calibration, p_values)
        save_both(lambda t: figures.calibration(t, rates), folder, "calibration")
        captions["calibration"] = (
            "Realised against stated false-positive rate, with its expected range."
        )
    return captions


def histogram_caption(quantity: str, values: Mapping[str, Any]) -> str:
    """Write the alternative text of a histogram."""
    medians = ", ".join(f"median {np.median(v):.3g} for {name}" for name, v in values.items())
    return f"Histograms of the {quantity} by class: {medians} images."


def draw_examples(
    evaluation: EvaluationData, folder: Path
) -> tuple[list[tuple[str, str, list[tuple[dict[str, Any], Example, str]]]], float | None]:
    """Write the pictures of each example; heading, text and members of each group, and the range.

    The range is that of the residuals, None where no example has a reconstruction.
    """
    examples = evaluation.examples
    rebuilt = [e for group in examples.values() for e in group if e.reconstruction is not None]
    span = residual_range(rebuilt)
    point = strictest_point(evaluation.metrics)
    counts = {} if point is None else mistakes(*point)
    written: dict[int, dict[str, Any]] = {}
    groups = []
    for key, (heading, text) in GROUPS.items():
        members = []
        for example in examples.get(key, ()):
            if id(example) not in written:
                stem = f"example-{len(written) + 1:02d}"
                written[id(example)] = write_example(example, span, folder, stem)
            members.append((written[id(example)], example, mistake_of(example, point)))
        if members:
            groups.append((heading, counts.get(key, text), members))
    return groups, span if rebuilt else None


def strictest_point(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """False-positive rate and operating point of the highest calibrated threshold, if any."""
    points = ((fpr, point) for fpr, point in metrics["thresholds"].items() if "threshold" in point)
    return next(points, None)


def mistakes(fpr: str, point: Mapping[str, Any]) -> dict[str, str]:
    """Sentences on the false alarms and on the missed images at an operating point."""
    n_normal, n_anomalous = point["n_normal"], point["n_anomalous"]
    alarms = round((point["fpr"] or 0) * n_normal)
    missed = n_anomalous - round((point["tpr"] or 0) * n_anomalous)
    line = f"the threshold for a false-positive rate of {fpr} ({point['threshold']:.4g})"
    no_alarm = f"No normal image with a p-value scores above {line}: there are no false alarms."
    none_missed = f"Every anomalous image with a p-value scores above {line}: none is missed."
    return {
        "false_alarms": f"False alarms: {alarms} of {n_normal} normal images with a p-value, which "
        f"score above {line}."
        if alarms
        else no_alarm,
        "missed": f"Missed: {missed} of {n_anomalous} anomalous images with a p-value, which do "
        f"not score above {line}."
        if missed
        else none_missed,
    }


def mistake_of(example: Example, point: tuple[str, Mapping[str, Any]] | None) -> str:
    """Tell whether an image with a p-value is a ``false alarm`` or ``missed``; empty if neither."""
    if point is None or math.isnan(example.p_value):
        return ""
    above = example.anomaly_score > point[1]["threshold"]
    if example.anomalous:
        return "" if above else "missed"
    return "false alarm" if above else ""
