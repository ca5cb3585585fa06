"""Work that is shared out among processes of this machine."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import connection
from typing import Any, TypeVar

from lumpylens.errors import DataError

__all__ = ["in_processes", "one_thread"]

GRACE_S = 10.0
"""Time for a worker that is ended to remove what it has half written."""

WORKER = """
import sys
from multiprocessing.connection import Connection
pipe = Connection(int(sys.argv[1]))
sys.path[:] = pipe.recv()
pipe.recv()(pipe)
"""
"""Program of a worker: a fresh interpreter that is told where modules are, and what to do. Unlike
those of `multiprocessing`, it does not run the user's script again, which may have no guard."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def in_processes(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Iterator[tuple[int, Result]]]:
    """Apply a function to every task; leaving the block ends what is still at work.

    Parameters
    ----------
    function : callable
        Of a module, so that other processes find it, or an object that can be pickled. What it
        raises is raised here.
    tasks : iterable
        Each is taken when it is given out, and not kept.
    workers : int
        Processes, each with one thread. One worker, or one task, is this process.

    Yields
    ------
    iterator of (int, result)
        Position and result of each task, as soon as it is done.

    Raises
    ------
    DataError
        If a process was ended by something else.
    """
    count = min(workers, len(tasks)) if isinstance(tasks, Sized) else workers
    if count < 2:
        yield enumerate(map(function, tasks))
        return
    with _started(count, function) as pipes:
        yield _results(pipes, tasks)


def _results(
    pipes: Iterable[connection.Connection], tasks: Iterable[Task]
) -> Iterator[tuple[int, Any]]:
    tasks_left = iter(enumerate(tasks))
    positions: dict[connection.Connection, int] = {}

    def give_out(pipe: connection.Connection) -> None:
        for position, task in tasks_left:
            positions[pipe] = position
            # That of a worker which is gone shows when its result is read.
            with suppress(ConnectionError):
                _send(pipe, task)
            break

    for pipe in pipes:
        give_out(pipe)
    while positions:
        ready: list[Any] = connection.wait(list(positions))
        for pipe in ready:
            position = positions.pop(pipe)
            try:
                result, problem = pipe.recv()
            except (EOFError, ConnectionError):
                raise DataError(
                    "a worker ended before its work was done, perhaps for lack of memory; fewer "
                    "workers need less"
                ) from None
            if problem is not None:
                raise problem
            give_out(pipe)
            yield position, result


@contextmanager
def _started(count: int, function: Callable[[Any], Any]) -> Iterator[list[connection.Connection]]:
    """Pipes to so many processes."""
    processes, pipes = [], []
    # A terminal sends Ctrl-C to children too; these are born deaf to it, and ended from here.
    mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            for _ in range(count):
                pipe, worker_end = connection.Pipe()
                descriptor = worker_end.fileno()
                process = subprocess.Popen(
                    [sys.executable, "-c", WORKER, str(descriptor)],
                    pass_fds=[descriptor],
                    stdin=subprocess.DEVNULL,
                )
                processes.append(process)
                pipes.append(pipe)
                worker_end.close()
                with suppress(ConnectionError):
                    _send(pipe, sys.path)
                    _send(pipe, partial(_work, function=function))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask_before)
        yield pipes
    finally:
        for pipe, process in zip(pipes, processes, strict=True):
            # Its end wakes a worker that waits for a task: a signal may reach another thread.
            pipe.close()
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            process.kill()
            process.wait()


def _send(pipe: connection.Connection, content: Any) -> None:
    # `pipe.send` would put tensors into shared memory, which stays behind if a process is killed.
    pipe.send_bytes(pickle.dumps(content))


def _work(pipe: connection.Connection, function: Callable[[Any], Any]) -> None:
    """Do tasks until the process is ended, or nobody is left who gives it any."""
    with one_thread():
        # Unlike the default this leaves no half-written files behind. Not earlier: what is raised
        # among imports may come out as another error.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        while True:
            try:
                task = pipe.recv()
            except EOFError:
                # What comes now would be raised, and printed, among Python's last steps.
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                return
            result, problem = None, None
            try:
                result = function(task)
            except Exception as raised:  # noqa: BLE001 - raised again where the results go
                raised.add_note(traceback.format_exc())
                problem = raised
            _send(pipe, (result, problem))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep numerical libraries on one thread: sums then have one order, on any machine."""
    import torch
    from threadpoolctl import threadpool_limits

    threads_before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads_before)
