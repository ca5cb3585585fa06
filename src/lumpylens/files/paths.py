"""Paths as results show them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["short_path"]


def short_path(location: str | Path) -> str:
    """Last two parts of a path: what is given away names no home folder."""
    return "/".join(Path(location).parts[-2:]).lstrip("/")
