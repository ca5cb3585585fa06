"""One way to show that long work is going on, and what to expect of it.

A terminal gets a bar, and whatever else takes standard error (a batch system's log, a file) gets
lines: one at the end of each stage, and one a minute before that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

__all__ = ["Stages", "counted", "duration", "has_bars", "note"]

EVERY_SECONDS = 60.0
"""Time between two lines about the same work."""


def note(text: str, *, show: bool = True) -> None:
    """Write one line on standard error, unless it is empty."""
    if show and text:
        sys.stderr.write(f"lumpylens: {text}\n")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time as people say it.

    Examples
    --------
    >>> duration(0.2), duration(61), duration(600), duration(9000)
    ('0.2 s', '61 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def has_bars() -> bool:
    """Whether standard error is a terminal or a notebook, where a bar can move."""
    from rich.console import Console

    console = Console(stderr=True)
    return console.is_terminal or console.is_jupyter


@contextmanager
def counted(task_name: str, total: int, *, show: bool = True) -> Iterator[Callable[[], None]]:
    """Show on standard error how far work has come; each call of what this gives is one step.

    Parameters
    ----------
    task_name : str
        The work, such as ``scoring``.
    total : int
        Number of steps.
    show : bool
        False shows nothing, and the steps cost nothing.
    """
    if not show:
        yield lambda: None
        return
    if not has_bars():
        lines = _Lines(task_name, total)
        yield lines.step
        lines.end()
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
        task = bar.add_task(task_name, total=total)
        yield lambda: bar.advance(task)


class _Lines:
    """How far work has come, in lines; steps may come from several threads."""

    def __init__(self, task_name: str, total: int) -> None:
        self.task_name, self.total, self.count = task_name, total, 0
        self.started = self.spoken = time.monotonic()
        self.lock = Lock()

    def step(self) -> None:
        with self.lock:
            self.count += 1
            now = time.monotonic()
            if now - self.spoken < EVERY_SECONDS or self.count >= self.total:
                return
            self.spoken = now
            seconds_left = (now - self.started) / self.count * (self.total - self.count)
            time_left = duration(seconds_left)
            note(f"{self.task_name}: {self.count} of {self.total}, about {time_left} to go")

    def end(self) -> None:
        time_taken = duration(time.monotonic() - self.started)
        note(f"{self.task_name}: {self.count} of {self.total} in {time_taken}")


class Stages:
    """Says at the end of each stage of long work what came out, and how long it took.

    Parameters
    ----------
    show : bool
        False says nothing.
    """

    def __init__(self, *, show: bool) -> None:
        self.show = show
        self.begin()

    def begin(self) -> None:
        """Begin a stage now, since what came before has reported itself."""
        self.since = time.monotonic()

    def done(self, text: str) -> None:
        """End a stage and begin the next one."""
        note(f"{text} ({duration(time.monotonic() - self.since)})", show=self.show)
        self.begin()
