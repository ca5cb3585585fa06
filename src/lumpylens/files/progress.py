"""One way to show that long work is going on, and what to expect of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["counted", "note"]


def note(text: str, *, show: bool = True) -> None:
    """Write one line on standard error, unless it is empty."""
    if show and text:
        sys.stderr.write(f"lumpylens: {text}\n")


@contextmanager
def counted(what: str, total: int, *, show: bool = True) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error; each call of what this gives is one step.

    Parameters
    ----------
    what : str
        The work, such as ``scoring``.
    total : int
        Number of steps.
    show : bool
        False shows nothing, and the steps cost nothing.
    """
    if not show:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
