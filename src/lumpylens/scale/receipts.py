"""Receipts: what was done to a shard, with what, and what came of it in a few numbers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lumpylens.errors import DataError, ModelError
from lumpylens.files.writing import whole_file

__all__ = [
    "Receipt",
    "check_program",
    "digest_of",
    "read_receipt",
    "receipt_of",
    "stamp",
    "write_receipt",
]

FORMAT = 1
MAX_BYTES = 64 * 2**20
"""Far above any receipt; the largest part are counts of p-values, one per calibration image."""


class Receipt(BaseModel):
    """What every kind of work leaves beside its result.

    Attributes
    ----------
    shard : str
        What was worked on, as given.
    stamp : str
        Digest of names, sizes and times of change of its files; empty if there are none.
    config : str
        Digest of the settings, and of the version of lumpylens.
    result : str
        Name of the file beside the receipt that holds the result.
    result_sha256 : str
    images : int
    seconds : float
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    shard: str
    stamp: str = ""
    config: str
    result: str
    result_sha256: str
    images: int
    seconds: float

    def answers(self, wanted: Mapping[str, str]) -> bool:
        """Tell whether this is the receipt of the same work on the same shard."""
        return self.format == FORMAT and all(
            getattr(self, name) == value for name, value in wanted.items()
        )

    def whole(self, folder: Path) -> bool:
        """Tell whether the result that it speaks of lies in `folder`, unchanged."""
        try:
            return file_sha256(folder / self.result) == self.result_sha256
        except OSError:
            return False


Kind = TypeVar("Kind", bound=Receipt)


def write_receipt(receipt: Receipt, path: Path) -> None:
    """Write a receipt beside its place and rename it.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    with whole_file(path) as beside:
        beside.write_text(receipt.model_dump_json() + "\n", encoding="utf-8")


def read_receipt(path: Path, kind: type[Kind]) -> Kind | None:
    """Read a receipt; None where there is none, or one that is torn or of another format.

    Parameters
    ----------
    path : Path
    kind : type of Receipt
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def receipt_of(path: Path, kind: type[Kind], wanted: Mapping[str, str]) -> Kind | None:
    """Read the receipt of the very work that is wanted, if its result lies beside it.

    Parameters
    ----------
    path : Path
    kind : type of Receipt
    wanted : mapping of str to str
        What it must say.
    """
    found = read_receipt(path, kind)
    if found is None or not found.answers(wanted) or not found.whole(path.parent):
        return None
    return found


def check_program(meant: str) -> None:
    """Refuse to work for another version of lumpylens.

    Raises
    ------
    ModelError
        If `meant` is not the version that runs here.
    """
    here = version("lumpylens")
    if meant != here:
        raise ModelError(
            f"this machine has lumpylens {here}, and the work was given out by {meant}; "
            "install the same everywhere"
        )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(values: Mapping[str, Any]) -> str:
    """Digest of settings, the same for any order.

    Examples
    --------
    >>> digest_of({"a": 1, "b": "x"}) == digest_of({"b": "x", "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def stamp(path: Path) -> str:
    """Digest of names, sizes and times of change of a file, or of all files under a folder.

    Cheap beside reading the images; a copy that keeps its times keeps its stamp.

    Raises
    ------
    DataError
        If there is nothing of that name.
    """
    total = hashlib.sha256()
    try:
        for name, place in _files(path):
            status = os.stat(place)
            total.update(
                f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="replace")
            )
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}") from None
    return total.hexdigest()


def _files(path: Path) -> Iterable[tuple[str, str]]:
    if not path.is_dir():
        yield "", str(path)
        return
    for here, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            place = os.path.join(here, name)
            # A link to nowhere is a row with a reason when the shard is read.
            if os.path.exists(place):
                yield os.path.relpath(place, path), place
