"""The benchmark's table in Markdown, beside the published numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["PUBLISHED", "markdown"]

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
        "These are not like for like: they are of other simulated images, in which about 1 % of "
        "the lens's mass is substructure (in the challenge's it is 8 %), and took 25,000 training "
        "images and 500 epochs on a GPU."
    ),
}
"""AUCs as published for the two simulated models A and B of that paper."""


def markdown(result: Mapping[str, Any]) -> str:
    """Write the page for a result of `benchmark`."""
    rows = result["rows"]
    seeds = len(result["seeds"])
    paragraphs = [
        f"# Detectors compared on `{result['data']}`",
        f"{result['n_normal']} normal images that no detector saw against {result['n_anomalous']} "
        f"anomalous ones, of {result['n_given_normal']} and {result['n_given_anomalous']} given. "
        f"Each detector learned from the same {rows[0]['n_train']} normal "
        f"images, chose its settings on others, and saw no label. Means over {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}{but_once(result)}; the interval (95 %, Newcombe "
        "2006) is for the choice of test images, the range for the seeds.",
        table(
            ["detector", "AUC", "95 % interval", "over seeds", "TPR at FPR 0.01", "0.05", "0.1",
             "W1 of the loss", "training, core time", "images/s per core", "memory", "model"],
            (performance(row) for row in rows),
        ),
        "W1 is the Wasserstein distance between the classes' reconstruction losses (mean squared "
        "error per pixel on [0, 1] images). Training, which includes reading and calibration, and "
        "scoring, which includes reading, are in time of one core; several share it. "
        "Memory is the peak of a run's process.",
        *reference(result["reference"]),
        "## Audit",
        "AUC of the images learned from and of the test part, against anomalous images of the same "
        "part; then of every component of the score alone. A detector whose score survives with "
        "the total mass free (`free_mass`) does not lean on it.",
        table(
            ["detector", "training part", "test part", "components"],
            (audit(row) for row in rows),
        ),
        "Statistics that know nothing of lensing; far from 0.5 means a shortcut in the images: "
        + ", ".join(
            f"{name} {found['auc']:.3f}" for name, found in result["trivial"].items()
        ) + ".",
        "## Published",
        table(
            [result["published"]["source"], "model A", "model B"],
            (
                [each["method"], number(each["model_a"], 3), number(each["model_b"], 3)]
                for each in result["published"]["rows"]
            ),
        ),
        result["published"]["not_like_for_like"],
        "## How it was made",
        f"`{result['command']}`, on {'; '.join(result['machine'])}, with "
        + ", ".join(f"{name} {text}" for name, text in result["versions"].items()) + ".",
    ]  # fmt: skip
    if result["failed"]:
        paragraphs.insert(
            4,
            "Failed: "
            + "; ".join(
                f"{each['detector']} with seed {each['seed']} ({each['failed']})"
                for each in result["failed"]
            )
            + ".",
        )
    return "\n\n".join(paragraphs) + "\n"


def but_once(result: Mapping[str, Any]) -> str:
    """Name the detectors that were trained with one seed alone."""
    if not result["once"] or len(result["seeds"]) == 1:
        return ""
    return f" (one for {', '.join(f'`{name}`' for name in result['once'])})"


def performance(row: Mapping[str, Any]) -> list[str]:
    """One detector's line of the first table."""
    return [
        f"`{row['detector']}`",
        *separation(row),
        "" if row["wasserstein"] is None else f"{row['wasserstein']:.3g}",
        duration(row["training_core_seconds"]),
        f"{row['images_per_core_second']:.0f}",
        f"{row['peak_memory_mb'] / 1000:.1f} GB",
        f"{row['model_mb']:.1f} MB",
    ]


def reference(found: Mapping[str, Any] | None) -> list[str]:
    """What stands below the line: no detector."""
    if found is None:
        return []
    return [
        "---",
        f"Below the line, since it is no detector: a small convolutional classifier that learned "
        f"from {found['n_train']} images of both classes *with their labels*, on "
        f"{found['n_normal']} normal and {found['n_anomalous']} anomalous images of the test part.",
        table(
            ["supervised reference", "AUC", "95 % interval", "over seeds", "TPR at FPR 0.01",
             "0.05", "0.1", "training, core time"],
            [["learned from labels", *separation(found), duration(found["training_core_seconds"])]],
        ),
        "The time is that of its whole learning curve. AUC by the number of labelled images: "
        + ", ".join(f"{area:.4f} from {count}" for count, area in found["learning_curve"]) + ".",
    ]  # fmt: skip


def separation(row: Mapping[str, Any]) -> list[str]:
    """The cells from AUC to true-positive rates."""
    areas = row["auc_by_seed"]
    return [
        number(row["auc"], 4),
        f"{row['auc_low']:.4f} to {row['auc_high']:.4f}",
        f"{min(areas):.4f} to {max(areas):.4f}" if len(areas) > 1 else "",
        *(number(rate, 3) for rate in row["tpr_at_fpr"].values()),
    ]


def audit(row: Mapping[str, Any]) -> list[str]:
    """One detector's line of the second table."""
    parts = row["auc_by_part"]
    components = ", ".join(f"{name} {area:.4f}" for name, area in row["audit"].items())
    return [f"`{row['detector']}`", number(parts["train"], 4), number(parts["test"], 4), components]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: names to the left, numbers to the right."""
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
