"""How to get an extra of ``pyproject.toml``, in the same words in every message."""

from __future__ import annotations

__all__ = ["pip_install"]


def pip_install(extra: str) -> str:
    """Command that installs an extra, for who has the package and for who has a clone of it.

    With the first, pip adds the extra to what is installed already, also where that came from a
    wheel; the second installs the package with it.

    >>> pip_install("onnx")
    "pip install 'lumpylens[onnx]' (in a clone '.[onnx]')"
    """
    return f"pip install 'lumpylens[{extra}]' (in a clone '.[{extra}]')"
