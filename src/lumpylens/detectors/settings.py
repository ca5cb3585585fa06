"""Settings of a detector, checked."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lumpylens.errors import DataError, ModelError

__all__ = ["DetectorConfig", "read_settings", "validated"]


class DetectorConfig(BaseModel):
    """Settings of a detector: one schema for flags, TOML files and error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0


def read_settings(config: str | Path) -> dict[str, Any]:
    """Settings in a TOML file, or in the ``config.toml`` of a model.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        values = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except OSError as problem:
        raise DataError(f"cannot read {config}: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise DataError(f"{config} is not valid TOML: {problem}") from None
    settings: dict[str, Any] = values.get("settings", values)
    return settings


def validated(schema: type[BaseModel], settings: Mapping[str, Any]) -> Any:
    """Build a config, or say in one line which setting is wrong."""
    try:
        return schema(**settings)
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, schema.model_fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            names = ", ".join(schema.model_fields)
            raise ModelError(f"unknown setting {key!r}{hint} (known: {names})") from None
        raise ModelError(f"setting {key}: {first['msg']} (got {first['input']!r})") from None
