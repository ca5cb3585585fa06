"""Settings of a detector, checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lumpylens.errors import ModelError

__all__ = ["DetectorConfig", "validated"]


class DetectorConfig(BaseModel):
    """Settings of a detector: one schema for flags, TOML files and error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0


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
            known = ", ".join(schema.model_fields)
            raise ModelError(f"unknown setting {key!r}{hint} (known: {known})") from None
        raise ModelError(f"setting {key}: {first['msg']} (got {first['input']!r})") from None
