"""Results appear whole or not at all: written beside their place, then renamed."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lumpylens.errors import DataError

__all__ = ["check_only", "check_replaceable", "check_writable", "whole_file", "whole_folder"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; it takes the place of `path` when the block ends well.

    Raises
    ------
    DataError
        If the folder cannot be made or written to.
    """
    part_file = path.with_name(f".{path.stem}.{_mark()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part_file
        part_file.replace(path)
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror or problem}") from problem
    finally:
        with suppress(OSError):
            part_file.unlink()


@contextmanager
def whole_folder(folder: Path, *, made_by_us: str) -> Iterator[Path]:
    """Give a folder to fill; it takes the place of `folder` when the block ends well.

    Parameters
    ----------
    folder : Path
        An existing one is replaced if it is empty or holds the file `made_by_us`.
    made_by_us : str
        Name of a file that only a result of the same kind has.

    Raises
    ------
    DataError
        If `folder` holds something else, or cannot be written.
    """
    check_replaceable(folder, made_by_us=made_by_us)
    place = folder.resolve()
    mark = _mark()
    part_folder = place.with_name(f".{place.name}.{mark}.part")
    old = place.with_name(f".{place.name}.{mark}.old")
    try:
        part_folder.mkdir(parents=True)
        yield part_folder
        if place.exists():
            place.rename(old)
        part_folder.rename(place)
    except OSError as problem:
        if old.exists() and not place.exists():
            old.rename(place)
        raise DataError(f"cannot write {folder}: {problem.strerror or problem}") from problem
    finally:
        for leftover in (part_folder, old):
            shutil.rmtree(leftover, ignore_errors=True)


def check_replaceable(folder: Path, *, made_by_us: str) -> None:
    """Refuse early, before the work whose result would have no place.

    Raises
    ------
    DataError
        If `folder` is a file, holds something but not the file `made_by_us`, or cannot be
        written.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder to write to")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / made_by_us).is_file():
        raise DataError(
            f"{folder} holds other files and is left as it is; give a new or an empty folder"
        )
    check_writable(folder)


def check_only(folder: Path, *, made_by_us: str, files: Collection[str], product: str) -> None:
    """`check_replaceable`, and nothing in the folder that would be lost with it.

    Parameters
    ----------
    folder : Path
    made_by_us : str
        Name of a file that only a result of the same kind has.
    files : collection of str
        Names that such a result consists of.
    product : str
        What it is called, for the message.

    Raises
    ------
    DataError
        Also if `folder` holds a file of another name.
    """
    check_replaceable(folder, made_by_us=made_by_us)
    foreign = {entry.name for entry in folder.iterdir()} - set(files) if folder.is_dir() else set()
    if foreign:
        raise DataError(
            f"{folder} holds {min(foreign)}, which is not part of {product}, and is left as it is; "
            "give a new or an empty folder"
        )


def check_writable(path: Path) -> None:
    """Refuse a file or folder that could not be written; leaves no trace.

    Raises
    ------
    DataError
        If the folder that it lies in cannot be made or written to.
    """
    try:
        folder = next(place for place in path.resolve().parents if place.exists())
        # Permission bits say nothing of full disks, read-only mounts or the superuser.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror or problem}") from problem


def _mark() -> str:
    """Mark of this writer alone: machines that share a folder have processes of equal number."""
    return secrets.token_hex(6)
