"""Receipts: JSON files that say of what work a result is, so that the same call goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lumpylens.files.writing import whole_file

__all__ = ["read_receipt", "write_receipt"]

MAX_BYTES = 64 * 2**20
"""Far above any receipt; the largest part are counts of p-values, one per calibration image."""


def read_receipt(path: Path, required: Mapping[str, Any]) -> dict[str, Any] | None:
    """Content of a receipt of the very work that is wanted.

    Parameters
    ----------
    path : Path
    wanted : mapping
        What it must say, beside other things.

    Returns
    -------
    dict or None
        None where there is no receipt, or a torn one, or one of other work.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and required.items() <= content.items() else None


def write_receipt(content: Mapping[str, Any], path: Path) -> None:
    """Write a receipt beside its place and rename it.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    with whole_file(path) as part_file:
        part_file.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
