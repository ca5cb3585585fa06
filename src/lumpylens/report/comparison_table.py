"""The tables of a comparison of detectors, and its page in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "AUDIT",
    "COSTS",
    "PUBLISHED",
    "audit_table",
    "classifier",
    "failures",
    "introduction",
    "learning_curve",
    "markdown",
    "performance_table",
    "published_table",
    "reference_table",
]

PUBLISHED: dict[str, Any] = {
    "source": "Alexander et al., arXiv 2008.12731, test AUC",
    "rows": [
        {"method": "AAE", "model_a": 0.932, "model_b": 0.769},
        {"method": "VAE", "model_a": 0.899, "model_b": 0.735},
        {"method": "DCAE", "model_a": 0.730, "model_b": 0.670},
        {"method": "OC-SVM", "model_a": 0.545, "model_b": 0.522},
        {"method": "RBM", "model_a": 0.515, "model_b": 0.509},
        {"method": "ResNet-18, supervised", "model_a": 0.996, "model_b": None},
    ],
    "not_like_for_like": (
        "These numbers cannot be compared with the table above: they are for other simulated "
        "images, in which about 1 % of the lens's mass is substructure (in the challenge it is 8 "
        "%), and training took 25,000 images and 500 epochs on a GPU."
    ),
}
"""AUCs as published for the two simulated models A and B of that paper."""


Table = tuple[list[str], list[list[str]]]
"""Head and rows, as text; the first cell of a row is what it is about."""


def markdown(result: Mapping[str, Any]) -> str:
    """Write the Markdown page for a result of `benchmark`."""
    paragraphs = [
        f"# Detectors compared on `{result['data']}`",
        introduction(result),
        *failures(result),
        table(performance_table(result), code=True),
        COSTS,
        *reference(result["reference"]),
        "## Audit",
        AUDIT,
        table(audit_table(result), code=True),
        "Simple statistics without lensing; an AUC far from 0.5 means a shortcut in the images: "
        + ", ".join(f"{name} {area['auc']:.3f}" for name, area in result["trivial"].items())
        + ".",
        "## Published",
        table(published_table(result)),
        result["published"]["not_like_for_like"],
        "## How it was made",
        f"`{result['command']}`, on {'; '.join(result['machine'])}, with "
        + ", ".join(f"{name} {text}" for name, text in result["versions"].items())
        + ".",
    ]
    return "\n\n".join(paragraphs) + "\n"


def introduction(result: Mapping[str, Any]) -> str:
    """Introduction: what was measured on which images, and what the intervals are of."""
    seeds = len(result["seeds"])
    return (
        f"Test set: {result['n_normal']} normal images that no detector saw, and "
        f"{result['n_anomalous']} anomalous images, of {result['n_given_normal']} and "
        f"{result['n_given_anomalous']} given ones. Each detector learned from the same "
        f"{result['rows'][0]['n_train']} normal images, chose its settings on other normal images, "
        f"and used no label. Numbers are means over {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}{but_once(result)}. The interval (95 %, Newcombe "
        "2006) is for the choice of test images, the range for the seeds."
    )


def but_once(result: Mapping[str, Any]) -> str:
    """Name the detectors that were trained with one seed alone."""
    if not result["once"] or len(result["seeds"]) == 1:
        return ""
    return f" (one for {', '.join(f'`{name}`' for name in result['once'])})"


def failures(result: Mapping[str, Any]) -> list[str]:
    """One sentence on the runs that failed, or nothing."""
    if not result["failed"]:
        return []
    runs = (
        f"{run['detector']} with seed {run['seed']} ({run['failed']})" for run in result["failed"]
    )
    return [f"Failed: {'; '.join(runs)}."]


COSTS = (
    "W1 is the Wasserstein distance between the classes' reconstruction losses (mean squared "
    "error per pixel on [0, 1] images), for detectors that reconstruct. Times are core times: "
    "the times of all cores are added. Training includes reading and calibration, scoring "
    "includes reading. Memory is the peak memory of the process of a run."
)
AUDIT = (
    "AUC of the training images and of the test images, each against anomalous images of the "
    "same part; then the AUC of every component of the score alone. If the AUC stays high with "
    "the total mass free (`free_mass`), the detector does not depend on the total mass."
)
SEPARATION = ["AUC", "95 % interval", "over seeds", "TPR at FPR 0.01", "0.05", "0.1"]


def performance_table(result: Mapping[str, Any]) -> Table:
    """Table of how well each detector separates the classes, and what it costs."""
    head = [
        "detector",
        *SEPARATION,
        "W1 of the loss",
        "training, core time",
        "images/s per core",
        "memory",
        "model",
    ]
    return head, [performance(row) for row in result["rows"]]


def performance(row: Mapping[str, Any]) -> list[str]:
    """Line of a detector in the first table."""
    return [
        row["detector"],
        *separation(row),
        "" if row["wasserstein"] is None else f"{row['wasserstein']:.3g}",
        duration(row["training_core_seconds"]),
        f"{row['images_per_core_second']:.0f}",
        f"{row['peak_memory_mb'] / 1000:.1f} GB",
        f"{row['model_mb']:.1f} MB",
    ]


def reference(result: Mapping[str, Any] | None) -> list[str]:
    """Cells of the supervised reference, which is no detector and stands below the line."""
    if result is None:
        return []
    return [
        "---",
        "For comparison, and not a detector: " + classifier(result, "*with their labels*"),
        table(reference_table(result)),
        learning_curve(result),
    ]


def classifier(result: Mapping[str, Any], labels: str) -> str:
    """Sentences on the supervised reference, and on what it was measured."""
    return (
        f"a small convolutional classifier that learned from {result['n_train']} images of both "
        f"classes {labels}, on {result['n_normal']} normal and {result['n_anomalous']} anomalous "
        "images of the test part."
    )


def reference_table(result: Mapping[str, Any]) -> Table:
    """Table of how well the supervised reference separates the classes."""
    cells = ["learned from labels", *separation(result), duration(result["training_core_seconds"])]
    return ["supervised reference", *SEPARATION, "training, core time"], [cells]


def learning_curve(result: Mapping[str, Any]) -> str:
    """AUC of the supervised reference by the number of images that it learned from."""
    return (
        "The time is that of its whole learning curve. AUC by the number of labelled images: "
        + ", ".join(f"{area:.4f} from {count}" for count, area in result["learning_curve"])
        + "."
    )


def separation(row: Mapping[str, Any]) -> list[str]:
    """The cells from AUC to true-positive rates."""
    areas = row["auc_by_seed"]
    return [
        number(row["auc"], 4),
        f"{row['auc_low']:.4f} to {row['auc_high']:.4f}",
        f"{min(areas):.4f} to {max(areas):.4f}" if len(areas) > 1 else "",
        *(number(rate, 3) for rate in row["tpr_at_fpr"].values()),
    ]


def audit_table(result: Mapping[str, Any]) -> Table:
    """AUC of each detector by part of the split, and of each component alone."""
    head = ["detector", "training part", "test part", "components"]
    return head, [audit(row) for row in result["rows"]]


def audit(row: Mapping[str, Any]) -> list[str]:
    """Line of a detector in the second table."""
    parts = row["auc_by_part"]
    components = ", ".join(f"{name} {area:.4f}" for name, area in row["audit"].items())
    return [row["detector"], number(parts["train"], 4), number(parts["test"], 4), components]


def published_table(result: Mapping[str, Any]) -> Table:
    """AUCs as published."""
    published = result["published"]
    return [published["source"], "model A", "model B"], [
        [row["method"], number(row["model_a"], 3), number(row["model_b"], 3)]
        for row in published["rows"]
    ]


def table(content: Table, *, code: bool = False) -> str:
    """A Markdown table: names to the left, numbers to the right; `code`: names are typed ones."""
    head, rows = content
    if code:
        rows = [[f"`{name}`", *cells] for name, *cells in rows]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def number(value: float | None, digits: int) -> str:
    """A number, or nothing."""
    return "" if value is None else f"{value:.{digits}f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
