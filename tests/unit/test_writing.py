"""Results appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from lumpylens.errors import DataError
from lumpylens.files.writing import check_replaceable, check_writable, whole_file, whole_folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    with whole_file(tmp_path / "new" / "a.txt") as beside:
        beside.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert beside.suffix == ".txt"
    assert names(tmp_path / "new") == ["a.txt"]


def test_a_failed_block_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("older")

    def interrupted() -> None:
        with whole_file(tmp_path / "a.txt") as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "older"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_replaces_an_older_one_of_its_kind(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with whole_folder(tmp_path / "run", made_by_us="mark") as beside:
            (beside / "mark").write_text(text)
            (beside / text).touch()
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["mark", "second"]


def test_a_failed_folder_leaves_the_older_one(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "run", made_by_us="mark") as beside:
        (beside / "mark").write_text("first")

    def failing() -> None:
        with whole_folder(tmp_path / "run", made_by_us="mark") as beside:
            (beside / "mark").write_text("second")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / "mark").read_text() == "first"


def test_a_rename_that_fails_brings_the_older_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whole_folder(tmp_path / "run", made_by_us="mark") as beside:
        (beside / "mark").write_text("first")
    rename = Path.rename

    def fails_for_the_new_one(self: Path, target: Path) -> Path:
        if self.suffix == ".part":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new_one)
    with (
        pytest.raises(DataError, match=r"cannot write .*run: No space left on device"),
        whole_folder(tmp_path / "run", made_by_us="mark") as beside,
    ):
        (beside / "mark").write_text("second")
    assert names(tmp_path) == ["run"]
    assert (tmp_path / "run" / "mark").read_text() == "first"


def test_other_peoples_files_stay(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(DataError, match="left as it is"):
        check_replaceable(tmp_path, made_by_us="mark")
    with pytest.raises(DataError, match="is a file"):
        check_replaceable(tmp_path / "thesis.tex", made_by_us="mark")
    check_replaceable(tmp_path / "new", made_by_us="mark")
    with pytest.raises(DataError, match="left as it is"), whole_folder(tmp_path, made_by_us="mark"):
        raise AssertionError("the block must not run")
    assert names(tmp_path) == ["thesis.tex"]


def test_a_check_before_the_work_leaves_no_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "newer" / "a.txt")
    assert names(tmp_path) == []
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "a.txt", tmp_path / "file" / "new" / "a.txt"):
        with pytest.raises(DataError, match="cannot write"):
            check_writable(place)
