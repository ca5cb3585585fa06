"""Receipts: what was done to a shard, with what, and what came of it in a few numbers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lumpylens.errors import ModelError
from lumpylens.files.digests import digest_of_file
from lumpylens.files.writing import whole_file

__all__ = ["Receipt", "check_program", "read_receipt", "receipt_of", "write_receipt"]

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
            return digest_of_file(folder / self.result) == self.result_sha256
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
