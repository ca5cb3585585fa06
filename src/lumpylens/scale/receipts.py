"""Receipts: which work was done on a shard, with which settings, and its result in numbers."""

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

RECEIPT_FORMAT = 1
"""Version of the fields of a receipt; receipts of another version are ignored."""

MAX_BYTES = 64 * 2**20
"""Largest receipt that is read. A receipt grows with the number of calibration images, some ten
bytes each, so this is far above any; a larger file is not ours."""


class Receipt(BaseModel):
    """Record that every kind of work writes beside its result.

    Attributes
    ----------
    shard : str
        Path or name of the shard, as given.
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

    format: int = RECEIPT_FORMAT
    shard: str
    stamp: str = ""
    config: str
    result: str
    result_sha256: str
    images: int
    seconds: float

    def answers(self, wanted: Mapping[str, str]) -> bool:
        """Tell whether the receipt has the `wanted` values, that is, belongs to the same work."""
        return self.format == RECEIPT_FORMAT and all(
            getattr(self, name) == value for name, value in wanted.items()
        )

    def whole(self, folder: Path) -> bool:
        """Tell whether the result that it names lies in `folder`, unchanged."""
        try:
            return file_sha256(folder / self.result) == self.result_sha256
        except OSError:
            return False


AnyReceipt = TypeVar("AnyReceipt", bound=Receipt)


def write_receipt(receipt: Receipt, path: Path) -> None:
    """Write a receipt under another name and then rename it, so that it is never half written.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    with whole_file(path) as beside:
        beside.write_text(receipt.model_dump_json() + "\n", encoding="utf-8")


def read_receipt(path: Path, kind: type[AnyReceipt]) -> AnyReceipt | None:
    """Read a receipt; None if there is none, or it is damaged or of another format.

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


def receipt_of(path: Path, kind: type[AnyReceipt], wanted: Mapping[str, str]) -> AnyReceipt | None:
    """Read a receipt with the `wanted` values whose result lies beside it; None otherwise.

    Parameters
    ----------
    path : Path
    kind : type of Receipt
    wanted : mapping of str to str
        Values that its fields must have.
    """
    receipt = read_receipt(path, kind)
    if receipt is None or not receipt.answers(wanted) or not receipt.whole(path.parent):
        return None
    return receipt


def check_program(giver: str) -> None:
    """Raise if the work was given out by another version of lumpylens.

    Raises
    ------
    ModelError
        If `giver` is not the version that runs here.
    """
    here = version("lumpylens")
    if giver != here:
        raise ModelError(
            f"this machine has lumpylens {here}, and the work was given out by {giver}; "
            "install the same everywhere"
        )


def file_sha256(path: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of(values: Mapping[str, Any]) -> str:
    """Compute a digest of settings that does not depend on their order.

    Examples
    --------
    >>> digest_of({"a": 1, "b": "x"}) == digest_of({"b": "x", "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def stamp(path: Path) -> str:
    """Compute a digest of name, size and modification time of a file, or of all in a folder.

    This is much faster than reading the images. A copy with the same times has the same stamp.

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
            # A broken link becomes a row with an error when the shard is read.
            if os.path.exists(place):
                yield os.path.relpath(place, path), place
