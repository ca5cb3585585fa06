"""Where tasks run: in this process, on processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import os
import re
import warnings
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from lumpylens.errors import DataError, DataWarning, LumpylensError
from lumpylens.files.extras import pip_install

__all__ = ["Task", "check_cluster", "perform_all"]

LOCAL = re.compile(r"local(?::([1-9]\d*))?")
ADDRESS = re.compile(r"\w+://.+|[\w.-]+:\d+|.+\.json")
CONNECT_TIMEOUT_S = 20
CLOSE_TIMEOUT_S = 5
NO_LOG = logging.CRITICAL + 1
TASKS_PER_THREAD = 4
"""Given out at once: enough that no worker waits, few enough that a million shards cost the
scheduler no memory."""
LEAST_TASKS = 16


class Task(Protocol):
    """Work that any machine can do, whole or not at all, and that leaves a receipt."""

    def run(self) -> bool:
        """Do it, unless it has been done; tell whether it was done by this call."""
        ...


def check_cluster(cluster: str | None) -> None:
    """Refuse what names no cluster, before anything is started.

    Raises
    ------
    DataError
        If `cluster` is not understood, or Dask is not installed.
    """
    if cluster is None:
        return
    known = LOCAL if cluster.startswith("local:") else ADDRESS
    if cluster != "local" and not known.fullmatch(cluster):
        raise DataError(
            f"no cluster called {cluster!r}: give local, local:N, the scheduler's address such as "
            "tcp://host:8786, or its scheduler file"
        )
    _distributed()


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
    done : int
        Number of tasks that were done by this call and not before.
    failures : dict of int to str
        Reason by position of the task.

    Raises
    ------
    DataError
        If the scheduler cannot be reached, or goes away. Finished tasks have their receipts.
    """
    done, failures = 0, {}
    outcomes = _here(tasks) if cluster is None else _on_cluster(tasks, cluster)
    for position, outcome in outcomes:
        if isinstance(outcome, bool):
            done += outcome
        else:
            failures[position] = outcome
        on_done()
    return done, failures


def _here(tasks: Sequence[Task]) -> Iterator[tuple[int, bool | str]]:
    for position, task in enumerate(tasks):
        try:
            yield position, task.run()
        except LumpylensError as problem:
            yield position, str(problem)


def _on_cluster(tasks: Sequence[Task], cluster: str) -> Iterator[tuple[int, bool | str]]:
    with _silent(), _connected(cluster) as client:
        try:
            yield from _outcomes(client, tasks, cluster)
        except (OSError, CancelledError, concurrent.futures.CancelledError) as problem:
            # Whatever call was under way when the connection broke raises what it likes.
            raise _gone(cluster) from problem


def _outcomes(client: Any, tasks: Sequence[Task], cluster: str) -> Iterator[tuple[int, bool | str]]:
    """Give out tasks, a few for each thread at a time, and take what comes of them."""
    threads = sum(client.nthreads().values())
    if not threads:
        warnings.warn(
            DataWarning(f"the scheduler of {cluster} has no workers yet; waiting for them"),
            stacklevel=2,
        )
    left = iter(enumerate(tasks))
    positions: dict[str, int] = {}

    def give_out(most: int) -> list[Any]:
        futures = []
        for position, task in itertools.islice(left, most):
            future = client.submit(_run, task, pure=False)
            positions[future.key] = position
            futures.append(future)
        return futures

    finished = _distributed().as_completed(give_out(max(LEAST_TASKS, TASKS_PER_THREAD * threads)))
    for future in finished:
        while future.status == "lost":
            # Its worker died with the result in hand; another does it again.
            _distributed().wait(future)
        if future.status == "cancelled":
            raise _gone(cluster)
        outcome = future.result() if future.status == "finished" else _reason(future)
        yield positions.pop(future.key), outcome
        finished.update(give_out(1))


def _gone(cluster: str) -> DataError:
    return DataError(
        f"the scheduler of {cluster} is gone; what was finished is kept, and the same command "
        "goes on from there"
    )


def _run(task: Task) -> bool:
    return task.run()


def _reason(future: Any) -> str:
    """Why a task failed, in one line."""
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
    """Keep Dask's log off the screen: what a user should know comes as a failed shard."""
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
        raise DataError(f"a cluster needs Dask: {pip_install('scale')}") from None
    return distributed
