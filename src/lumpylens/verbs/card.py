"""The model card: what a model is, what it was made from, how good it is on normal images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lumpylens.store.trained import TrainedModel

__all__ = ["card_of"]


def _on_contamination(info: Mapping[str, Any]) -> str:
    """What the card says of images that stand apart; empty where all were taken for normal."""
    if "contaminated" not in info:
        return ""
    apart = info["contaminated"]
    if not apart["share"]:
        return "Nobody has cleaned these images. No image stands apart by its score."
    return (
        "Nobody has cleaned these images. The scores of "
        f"{apart['share']:.1%} of them stand apart, and these were left out: {apart['train']} of "
        f"training, {apart['validation']} of validation, {apart['calibration']} of calibration. "
        "Anomalies whose scores do not stand apart were taken for normal; they make p-values "
        "larger, never smaller."
    )


def _on_adaptation(info: Mapping[str, Any]) -> str:
    """What the card says of the model that this one was made from; empty if there was none."""
    if "adapted_from" not in info:
        return ""
    origin = info["adapted_from"]
    learned = f", learned from {origin['data']}" if "data" in origin else ""
    return f"Adapted from the model {origin['model']}{learned}: its networks are unchanged."


def card_of(model: TrainedModel) -> str:
    """Model card in Markdown."""
    detector, info = model.detector, model.info
    images, normal = info["images"], info["normal"]
    notes = "\n".join(f"* {note}" for note in detector.card_notes())
    settings = "\n".join(f"| `{key}` | {value} |" for key, value in detector.config)
    versions = ", ".join(f"{name} {number}" for name, number in info["versions"].items())
    height, width = detector.image_shape or (0, 0)
    uncleaned = "contaminated" in info
    kind = "with an unknown share of substructure" if uncleaned else "without substructure"
    lines = [
        f"# {detector.name}: a detector of substructure in strong lenses",
        f"Learned from images {kind} of {height}x{width} pixels "
        f"({info['data']}), without labels. Higher scores are more anomalous.",
        _on_adaptation(info),
        notes,
        "## Images",
        f"{images['found']} found, {images['unreadable']} unreadable. By content, "
        f"{images['train']} were for training, {images['validation']} for validation, "
        f"{images['calibration']} for calibration, and {images['test']} for tests.",
        _on_contamination(info),
        "## On normal images",
        f"{len(model.calibration)} calibration images: no p-value is below "
        f"{model.calibration.smallest_p_value:.2g}.",
    ]
    if normal["false_alarm_rate"] is not None:
        kind = (
            "test images, lumpy ones among them,"
            if "contaminated" in info
            else "normal test images"
        )
        lines.append(
            f"Of {normal['test_images']} {kind} {normal['false_alarm_rate']:.1%} lie "
            f"above the threshold for {normal['nominal_false_alarm_rate']:.1%}."
        )
    if normal["median_reconstruction_mse"] is not None:
        lines.append(
            "Their median reconstruction loss, the mean squared error per pixel on [0, 1] "
            f"images, is {normal['median_reconstruction_mse']:.3g}."
        )
    lines += [
        "An image of another size, stretch or pixel scale gets an error or a warning and no "
        "p-value.",
        "## How it was made",
        f"```\n{info['command']}\n```",
        f"{info['seconds']:.1f} s; {versions}.",
        "| setting | value |\n|---|---|\n" + settings,
    ]
    return "\n\n".join(line for line in lines if line) + "\n"
