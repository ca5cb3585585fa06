"""Names of the files of a lens for other codes."""

from __future__ import annotations

from pathlib import Path

from lumpylens.lenses.pictures import file_stem

__all__ = ["CODES", "KINDS", "data_path", "script_path", "template_path"]

CODES = ("lenstronomy", "pyautolens")
"""Codes that a script can be written for."""

KINDS = ("image", "noise", "psf", "mask")
"""FITS files of a lens that templates and scripts name."""


def data_path(id: str, kind: str, folder: str | Path) -> Path:
    """Path of one of the FITS files of a lens; `kind` is one of `KINDS`."""
    return Path(folder) / f"{file_stem(id)}-{kind}.fits"


def script_path(id: str, code: str, folder: str | Path) -> Path:
    """Path of the script of a lens for one of `CODES`."""
    return Path(folder) / f"{file_stem(id)}-{code}.py"


def template_path(id: str, folder: str | Path) -> Path:
    """Path of the COOLEST template of a lens."""
    return Path(folder) / f"{file_stem(id)}-coolest.json"
