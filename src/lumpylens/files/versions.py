"""Versions of what decides results."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["installed_versions"]

VERSIONS = ("lumpylens", "numpy", "scikit-learn", "torch", "lightning", "caustics")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of what decides results, where installed."""
    versions = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
