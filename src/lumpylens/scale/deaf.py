"""Loaded by local workers when they start: only their parent handles Ctrl-C, and ends them."""

from __future__ import annotations

import signal
from typing import Any

__all__ = ["dask_setup"]


def dask_setup(worker: Any) -> None:
    """Ignore the interrupt that a terminal sends to every process of the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
