"""Work in several processes: what comes back, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from lumpylens.errors import DataError
from lumpylens.files.processes import in_processes
from lumpylens.files.writing import whole_file


def squared(number: int) -> tuple[int, int, int]:
    return number * number, torch.get_num_threads(), os.getpid()


def refused(number: int) -> int:
    if number == 2:
        raise DataError("two is too much")
    return number


def killed(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def endless(place: Path | None) -> None:
    if place is None:
        return
    with whole_file(place) as beside:
        beside.write_text("half")
        while True:
            time.sleep(0.01)


def wait_until(condition) -> None:
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < 60
        time.sleep(0.05)


def test_one_worker_is_this_process():
    before = torch.get_num_threads()
    for tasks, workers in (([2, 3], 1), ([2], 2)):
        with in_processes(squared, tasks, workers) as results:
            assert [result for _, result in results] == [
                (task**2, before, os.getpid()) for task in tasks
            ]


@pytest.mark.slow
def test_results_come_with_the_positions_of_their_tasks_from_workers_of_one_thread():
    with in_processes(squared, [3, 1, 4, 1, 5], 2) as results:
        found = dict(results)
    assert {k: square for k, (square, _, _) in found.items()} == {0: 9, 1: 1, 2: 16, 3: 1, 4: 25}
    assert {threads for _, threads, _ in found.values()} == {1}
    assert os.getpid() not in {pid for _, _, pid in found.values()}


@pytest.mark.slow
def test_an_error_of_a_task_is_raised_as_it_was():
    with (
        pytest.raises(DataError, match="two is too much") as caught,
        in_processes(refused, [0, 1, 2, 3], 2) as results,
    ):
        list(results)
    assert str(caught.value) == "two is too much"
    assert "in refused" in caught.value.__notes__[0], "it says where"


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_line():
    with (
        pytest.raises(DataError, match="lack of memory") as caught,
        in_processes(killed, [0, 1, 2, 3], 2) as results,
    ):
        list(results)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_who_leaves_takes_the_workers_along(tmp_path):
    """And nothing half-written stays."""
    with in_processes(endless, [None, tmp_path / "a", tmp_path / "b"], 2) as results:
        next(results)
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    assert not list(tmp_path.iterdir())


ENDLESS = """
import time
from pathlib import Path

def endless(name):
    Path(name).touch()
    while True:
        time.sleep(0.01)
"""

SCRIPT = """
import sys
from endless import endless
from lumpylens.files.processes import in_processes

try:
    with in_processes(endless, sys.argv[1:], 2) as results:
        next(results)
except KeyboardInterrupt:
    print("interrupted")
"""

TO_THE_END = """
from lumpylens.files.processes import in_processes

for _ in range(3):
    with in_processes(abs, [-1, -2, -3], 3) as results:
        print(sorted(results))
"""


@pytest.mark.slow
def test_a_script_without_a_guard_is_not_run_again_and_its_end_is_quiet(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TO_THE_END)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[(0, 1), (1, 2), (2, 3)]\n" * 3, "")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of children")
@pytest.mark.parametrize("while_starting", [True, False])
def test_ctrl_c_is_quiet(tmp_path, while_starting):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (tmp_path / "endless.py").write_text(ENDLESS)
    names = [tmp_path / "a", tmp_path / "b"]
    started = subprocess.Popen(
        [sys.executable, script, *names], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True, text=True,
    )  # fmt: skip
    try:
        if while_starting:
            children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
            wait_until(lambda: len(children.read_text().split()) == 2)
            time.sleep(1)
        else:
            wait_until(lambda: all(name.exists() for name in names))
        # As a terminal does: to every process of the command.
        os.killpg(started.pid, signal.SIGINT)
        said, _ = started.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert said == "interrupted\n"
