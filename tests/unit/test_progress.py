"""Long work speaks: a bar in a terminal, lines in a log, nothing if it is told to be quiet."""

from __future__ import annotations

import re

import pytest

from lumpylens.files import progress
from lumpylens.files.progress import Stages, counted, duration, has_bars, note


def test_a_log_gets_one_line_at_the_end(capsys):
    with counted("scoring", 3) as step:
        for _ in range(2):
            step()
        assert capsys.readouterr().err == ""
    assert re.fullmatch(r"lumpylens: scoring: 2 of 3 in 0\.\d s\n", capsys.readouterr().err)


def test_long_work_says_how_far_it_is_and_what_is_left(capsys, monkeypatch):
    clock = iter([0.0, 50.0, 100.0, 150.0, 200.0, 200.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with counted("fitting", 4) as step:
        for _ in range(4):
            step()
    assert capsys.readouterr().err.splitlines() == [
        "lumpylens: fitting: 2 of 4, about 100 s to go",
        "lumpylens: fitting: 4 of 4 in 3 min",
    ]


def test_work_that_breaks_off_claims_no_end(capsys):
    with pytest.raises(KeyboardInterrupt), counted("fitting", 4):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_and_no_lines(capsys, monkeypatch):
    assert not has_bars()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert has_bars()
    with counted("scoring", 3) as step:
        step()
    shown = capsys.readouterr().err
    assert "1/3" in shown
    assert "lumpylens:" not in shown


def test_stages_tell_what_was_learned_and_how_long_it_took(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 5.0, 100.0, 130.0, 130.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stages = Stages(show=True)
    stages.done("blur 1.40 px")
    stages.begin()
    stages.done("population")
    assert capsys.readouterr().err.splitlines() == [
        "lumpylens: blur 1.40 px (5.0 s)",
        "lumpylens: population (30 s)",
    ]


def test_nothing_is_said_where_it_is_not_wanted(capsys):
    note("a", show=False)
    Stages(show=False).done("a")
    with counted("scoring", 1, show=False) as step:
        step()
    assert capsys.readouterr() == ("", "")


def test_times_are_said_in_units_that_fit():
    assert [duration(s) for s in (9.94, 9.96, 119, 120, 7199, 7200)] == [
        "9.9 s", "10 s", "119 s", "2 min", "120 min", "2.0 h"
    ]  # fmt: skip
