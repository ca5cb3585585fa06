"""Results as JSON, in types that JSON has."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lumpylens.errors import DataError
from lumpylens.files.writing import whole_file

__all__ = ["plain", "write_json"]


def plain(value: Any) -> Any:
    """Convert to types that JSON has; a number that is missing or infinite becomes None.

    Examples
    --------
    >>> plain({"low": float("nan"), 1: (2.5, Path("model"))})
    {'low': None, '1': [2.5, 'model']}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file beside its place and rename it.

    Raises
    ------
    DataError
        If `path` does not end in ``.json``, or cannot be written.
    """
    if path.suffix.lower() != ".json":
        raise DataError(f"this is written as JSON: name a file that ends in .json, got {path}")
    with whole_file(path) as part_file:
        text = json.dumps(plain(content), indent=2, allow_nan=False)
        part_file.write_text(text + "\n", encoding="utf-8")
