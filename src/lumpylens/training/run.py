"""Where and how a training runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Run"]


@dataclass(frozen=True)
class Run:
    """Where and how a training runs; nothing in here changes what is learned.

    Attributes
    ----------
    folder : Path or None
        Private folder for checkpoints and ``metrics.jsonl``; None keeps nothing.
    resume : bool
        Go on from the last finished epoch found in `folder`.
    progress : bool
        Say on standard error how far it is and what was learned.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    devices, nodes : int
        Processes per machine, and machines.
    precision : str
        Lightning's name for the number format.
    """

    folder: Path | None = None
    resume: bool = False
    progress: bool = False
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "32-true"
