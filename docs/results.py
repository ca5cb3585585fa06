"""Puts the table of ``results/challenge.json`` into the README and the page on the challenge.

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
PAGES = (ROOT / "README.md", ROOT / "docs" / "challenge.md")
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
MISSING = "`make challenge` makes this table."

PUBLISHED_AS = {"aae": "AAE", "vae": "VAE", "dcae": "DCAE", "ocsvm": "OC-SVM", "rbm": "RBM"}
"""What the published table calls a detector."""


def summary(result: Mapping[str, Any]) -> str:
    """The table in short, with what is comparable in it."""
    published = {row["method"]: row for row in result["published"]["rows"]}
    lines = [
        "| detector | AUC | 95 % interval | TPR at FPR 0.01 | AUC, total mass free | "
        "published, A / B |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        free = row["audit"].get("free_mass")
        lines.append(
            f"| `{row['detector']}` | {figures(row)} | {'' if free is None else f'{free:.4f}'} | "
            f"{both(published.get(PUBLISHED_AS.get(row['detector'], '')))} |"
        )
    reference = result.get("reference")
    if reference is not None:
        lines.append(
            f"| *trained on labels, no detector* | {figures(reference)} |  | "
            f"{both(published['ResNet-18, supervised'])} |"
        )
    seeds = len(result["seeds"])
    return "\n".join(lines) + (
        f"\n\nEach detector learned from the same {result['rows'][0]['n_train']} smooth images and "
        f"saw no label; measured on {result['n_normal']} smooth images that none saw and "
        f"{result['n_anomalous']} with substructure; means over {seeds} "
        f"{'seed' if seeds == 1 else 'seeds'}. The rows can be compared with each other. The last "
        "column, from [arXiv 2008.12731](https://arxiv.org/abs/2008.12731), cannot be compared "
        "with the others: it is of other simulated images, in which about 1 % of the lens's mass "
        "is substructure (here 8 %), and of 25,000 training images."
    )


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
    text = MISSING
    if RESULT.is_file():
        text = summary(json.loads(RESULT.read_text(encoding="utf-8")))
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
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
