"""Puts the table of ``results/challenge.json`` into README and documentation.

The README and the page on the challenge get all rows, each detector's card its own row.

``python docs/results.py`` writes it (``make results-table``); with ``--check`` it writes nothing
and exits with 1 if what stands there is not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "challenge.json"
README = ROOT / "README.md"
CHALLENGE = ROOT / "docs" / "challenge.md"
CARDS = ROOT / "docs" / "detectors"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
MISSING = "`make challenge` makes this table."
NO_ROW = "`make challenge` measures it on the challenge's images."
HEAD = (
    "| detector | AUC | 95 % interval | TPR at FPR 0.01 | AUC, total mass free | "
    "published, A / B |\n|---|---:|---:|---:|---:|---:|"
)

PUBLISHED_AS = {"aae": "AAE", "vae": "VAE", "dcae": "DCAE", "ocsvm": "OC-SVM", "rbm": "RBM"}
"""Names of the detectors in the published table."""


def table(result: Mapping[str, Any]) -> str:
    """The rows of all detectors, and of the classifier that is trained on labels."""
    lines = [HEAD, *(line(result, row) for row in result["rows"])]
    reference = result.get("reference")
    if reference is not None:
        lines.append(
            f"| *trained on labels, no detector* | {figures(reference)} |  | "
            f"{both(published_row(result, 'ResNet-18, supervised'))} |"
        )
    return "\n".join(lines)


def in_short(result: Mapping[str, Any]) -> str:
    """The table, and a warning about the column that cannot be compared with the others."""
    return (
        f"{table(result)}\n\n"
        f"All detectors learned from the same {result['rows'][0]['n_train']} smooth images. The "
        f"[published](https://arxiv.org/abs/2008.12731) AUCs are of other images: "
        "[details](docs/challenge.md#compare-detectors)."
    )


def summary(result: Mapping[str, Any]) -> str:
    """The table, and which of its numbers can be compared."""
    reference = result.get("reference")
    seeds = len(result["seeds"])
    once = ", ".join(f"`{name}`" for name in result["once"])
    but_once = f" (one for {once})" if once and seeds > 1 else ""
    labelled = (
        ""
        if reference is None
        else f" The classifier trained on labels saw {reference['n_train']} images of both "
        f"classes; its test set is {reference['n_normal']} smooth images and "
        f"{reference['n_anomalous']} with substructure."
    )
    return (
        f"{table(result)}\n\n"
        f"All detectors learned from the same {result['rows'][0]['n_train']} smooth images, "
        f"without labels. Their test set is {result['n_normal']} other smooth images and "
        f"{result['n_anomalous']} images with substructure. The numbers are means over {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}{but_once}. The rows can be compared with each other."
        f"{labelled} The last column, from [arXiv 2008.12731](https://arxiv.org/abs/2008.12731), "
        "cannot be compared with the others: its images are other simulations, in which "
        "substructure is about 1 % of the lens's mass (here 8 %), and its training sets have "
        "25,000 images."
    )


def card(result: Mapping[str, Any], detector: str) -> str:
    """A detector's own row, under the table's head."""
    for row in result["rows"]:
        if row["detector"] == detector:
            return (
                f"{HEAD}\n{line(result, row)}\n\n"
                "[The whole table](../challenge.md#compare-detectors) says what can be compared."
            )
    return NO_ROW


def line(result: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """One detector's line."""
    free = row["audit"].get("free_mass")
    return (
        f"| `{row['detector']}` | {figures(row)} | {'' if free is None else f'{free:.4f}'} | "
        f"{both(published_row(result, PUBLISHED_AS.get(row['detector'], '')))} |"
    )


def published_row(result: Mapping[str, Any], method: str) -> Mapping[str, Any] | None:
    """The published numbers of a method."""
    return next((row for row in result["published"]["rows"] if row["method"] == method), None)


def figures(row: Mapping[str, Any]) -> str:
    """The cells from AUC to true-positive rate."""
    return (
        f"{row['auc']:.4f} | {row['auc_low']:.4f} to {row['auc_high']:.4f} | "
        f"{row['tpr_at_fpr']['0.01']:.3f}"
    )


def both(row: Mapping[str, Any] | None) -> str:
    """Published AUC on models A and B, as far as there is one."""
    if row is None:
        return ""
    return " / ".join(f"{row[k]:.3f}" for k in ("model_a", "model_b") if row[k] is not None)


def main(check: bool) -> str:
    """Write the pages, or say which is not current; an empty string if all is well."""
    result = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else None
    texts = {
        page: MISSING if result is None else text(result)
        for page, text in ((README, in_short), (CHALLENGE, summary))
    }
    for path in sorted(CARDS.glob("*.md")):
        if path.stem != "index":
            texts[path] = NO_ROW if result is None else card(result, path.stem)
    for path, text in texts.items():
        page = path.read_text(encoding="utf-8")
        if BEGIN not in page or END not in page:
            return f"{path.name} has no place for its results: put {BEGIN} and {END} in it"
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        written = f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"
        if check and written != page:
            return f"the table in {path.name} is not current: run make results-table"
        if written != page:
            path.write_text(written, encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]) or 0)
