"""Where numbers are computed, by the names that users give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lumpylens.errors import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["DEVICES", "check_device", "torch_device"]

DEVICES = ("auto", "cpu", "cuda")


def check_device(name: str) -> None:
    """Refuse a device of another name, without loading torch.

    Raises
    ------
    ModelError
        If `name` is none of `DEVICES`.
    """
    if name not in DEVICES:
        raise ModelError(f"no device called {name!r} (known: {', '.join(DEVICES)})")


def torch_device(name: str) -> torch.device:
    """Device of that name: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises
    ------
    ModelError
        If there is no such device.
    """
    import torch

    check_device(name)
    if name == "cuda" and not torch.cuda.is_available():
        raise ModelError("device 'cuda' was asked for, but torch finds no GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
