"""Run tasks in this process, on processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import re
import threading
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from lumpylens.errors import DataError, DataWarning, LumpylensError
from lumpylens.files.extras import pip_install
from lumpylens.files.processes import in_processes

__all__ = ["Task", "check_cluster", "one_at_a_time", "perform", "perform_all"]

LOCAL = re.compile(r"local(?::([1-9]\d*))?")
ADDRESS = re.compile(r"\w+://.+|[\w.-]+:\d+|.+\.json")
CONNECT_TIMEOUT_S = 20
CLOSE_TIMEOUT_S = 5
"""Seconds that a scheduler has to answer, and that closing may take; a short wait would give up on
a busy scheduler, a long one keep the user waiting for one that is gone."""

NO_DASK = f"a cluster needs Dask: {pip_install('scale')}"
NO_LOG = logging.CRITICAL + 1
"""Level that no message reaches."""

TASKS_PER_THREAD, LEAST_TASKS = 4, 16
"""Tasks submitted at once, per thread and at least: enough that no worker waits for the next one,
and few enough that a million shards need no memory in the scheduler."""


one_at_a_time = threading.Lock()
"""Held by tasks that change settings of the whole process, such as its number of threads: a worker
with several threads still does one of them at a time."""


class Task(Protocol):
    """Work that any machine can do, that is finished completely or not at all, with a receipt."""

    def run(self) -> bool:
        """Do the work, unless it has a receipt; tell whether this call did it."""
        ...


def check_cluster(cluster: str | None) -> None:
    """Raise if `cluster` is no valid name or address, before anything is started.

    Raises
    ------
    DataError
        If `cluster` is not understood, or Dask is not installed.
    """
    if cluster is None:
        return
    pattern = LOCAL if cluster.startswith("local:") else ADDRESS
    if cluster != "local" and not pattern.fullmatch(cluster):
        raise DataError(
            f"no cluster called {cluster!r}: give local, local:N, the scheduler's address such as "
            "tcp://host:8786, or its scheduler file"
        )
    # Not imported, which takes a second: a call with nothing left to do needs no cluster.
    if find_spec("distributed") is None:
        raise DataError(NO_DASK)


def perform_all(
    tasks: Sequence[Task], cluster: str | None, on_done: Callable[[], None]
) -> tuple[int, dict[int, str]]:
    """Run every task; one that fails does not stop the others.

    Parameters
    ----------
    tasks : sequence of Task
    cluster : str or None
        ``local:N`` (N processes of this machine), ``local`` (one per core), the address of a
        Dask scheduler or its scheduler file; None is this process.
    on_done : callable
        Called once per task.

    Returns
    -------
    n_done : int
        Number of tasks that were done by this call and not before.
    failures : dict of int to str
        Reason by position of the task.

    Raises
    ------
    DataError
        If the scheduler cannot be reached, or stops. Finished tasks have their receipts.
    """
    n_done, failures = 0, {}
    with perform(tasks, cluster) as outcomes:
        for position, outcome in outcomes:
            if isinstance(outcome, bool):
                n_done += outcome
            else:
                failures[position] = outcome
            on_done()
    return n_done, failures


@contextmanager
def perform(
    tasks: Sequence[Task], cluster: str | None, workers: int = 1
) -> Iterator[Iterator[tuple[int, bool | str]]]:
    """Run every task; leaving the block ends what is still at work.

    Parameters
    ----------
    tasks : sequence of Task
        Each is taken when it is given out, and not kept.
    cluster : str or None
        See `perform_all`.
    workers : int
        Processes of this machine without a cluster; one is this process.

    Yields
    ------
    iterator of (int, bool or str)
        Position of each task as soon as it has ended, and whether it was done now and not before,
        or the reason why it failed.

    Raises
    ------
    DataError
        If the scheduler cannot be reached, or stops, or a process of this machine was ended.
    """
    if not tasks:
        # A cluster takes seconds to start.
        yield iter(())
    elif cluster is None:
        with in_processes(_outcome, tasks, workers) as outcomes:
            yield outcomes
    else:
        with closing(_on_cluster(tasks, cluster)) as outcomes:
            yield outcomes


def _outcome(task: Task) -> bool | str:
    try:
        return task.run()
    except LumpylensError as problem:
        return str(problem)


def _on_cluster(tasks: Sequence[Task], cluster: str) -> Generator[tuple[int, bool | str]]:
    with _silent(), _connected(cluster) as client:
        try:
            yield from _outcomes(client, tasks, cluster)
        except (OSError, CancelledError, concurrent.futures.CancelledError) as problem:
            # A broken connection raises one of these, depending on the call that was running.
            raise _gone(cluster) from problem


def _outcomes(client: Any, tasks: Sequence[Task], cluster: str) -> Iterator[tuple[int, bool | str]]:
    """Submit tasks, a few for each thread at a time, and yield their outcomes."""
    threads = sum(client.nthreads().values())
    if not threads:
        warnings.warn(
            DataWarning(f"the scheduler of {cluster} has no workers yet; waiting for them"),
            stacklevel=2,
        )
    tasks_left = iter(enumerate(tasks))
    positions: dict[str, int] = {}

    def submit(most: int) -> list[Any]:
        futures = []
        for position, task in itertools.islice(tasks_left, most):
            future = client.submit(_run, task, pure=False)
            positions[future.key] = position
            futures.append(future)
        return futures

    finished = _distributed().as_completed(submit(max(LEAST_TASKS, TASKS_PER_THREAD * threads)))
    for future in finished:
        while future.status == "lost":
            # The worker that held the result died; another worker repeats the task.
            _distributed().wait(future)
        if future.status == "cancelled":
            raise _gone(cluster)
        outcome = future.result() if future.status == "finished" else _reason(future)
        yield positions.pop(future.key), outcome
        finished.update(submit(1))


def _gone(cluster: str) -> DataError:
    return DataError(
        f"the scheduler of {cluster} is gone; what was finished is kept, and the same command "
        "goes on from there"
    )


def _run(task: Task) -> bool:
    return task.run()


def _reason(future: Any) -> str:
    """Reason why a task failed, in one line."""
    problem = future.exception()
    if isinstance(problem, LumpylensError):
        return str(problem)
    if isinstance(problem, _distributed().KilledWorker):
        return (
            "every worker that took it died, perhaps for lack of memory; smaller shards need less"
        )
    return " ".join(f"{type(problem).__name__}: {problem}".split())[:300]


@contextmanager
def _connected(cluster: str) -> Iterator[Any]:
    distributed = _distributed()
    local = LOCAL.fullmatch(cluster)
    if local:
        count = int(local[1]) if local[1] else len(os.sched_getaffinity(0))
        with (
            distributed.LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=NO_LOG,
                preload="lumpylens.scale.deaf",
            ) as started,
            distributed.Client(started) as client,
        ):
            yield client
        return
    where = {"scheduler_file": cluster} if cluster.endswith(".json") else {"address": cluster}
    if "scheduler_file" in where and not Path(cluster).is_file():
        raise DataError(f"no scheduler file at {cluster}; is the scheduler running?")
    try:
        client = distributed.Client(**where, timeout=CONNECT_TIMEOUT_S)
    except (OSError, ValueError) as problem:
        raise DataError(f"no Dask scheduler answers at {cluster}: {problem}") from None
    try:
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=CLOSE_TIMEOUT_S)


@contextmanager
def _silent() -> Iterator[None]:
    """Silence Dask's log: a failure is reported as that of a shard."""
    _distributed()  # makes its loggers
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(NO_LOG)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise DataError(NO_DASK) from None
    return distributed
