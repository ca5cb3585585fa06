"""Receipts: which work was done on a shard, with which settings, and its result in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lumpylens.errors import ModelError
from lumpylens.files.digests import digest_of_file
from lumpylens.files.receipts import read_receipt, write_receipt

__all__ = ["Receipt", "check_program", "receipt_of"]

FORMAT = 1


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

    format: int = FORMAT
    shard: str
    stamp: str = ""
    config: str
    result: str
    result_sha256: str
    images: int
    seconds: float

    @classmethod
    def read(cls, path: Path, required: Mapping[str, str] | None = None) -> Self | None:
        """Read a receipt that says what is `required`; None for any other, a torn one, or none."""
        content = read_receipt(path, {"format": FORMAT, **(required or {})})
        try:
            return None if content is None else cls.model_validate(content)
        except ValidationError:
            return None

    def write(self, path: Path) -> None:
        """Write it beside its place and rename it.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        write_receipt(self.model_dump(), path)

    def has_result(self, folder: Path) -> bool:
        """Tell whether the result that it names lies in `folder`, unchanged."""
        try:
            return digest_of_file(folder / self.result) == self.result_sha256
        except OSError:
            return False


AnyReceipt = TypeVar("AnyReceipt", bound=Receipt)


def receipt_of(
    path: Path, kind: type[AnyReceipt], required: Mapping[str, str]
) -> AnyReceipt | None:
    """Read the receipt of the very work that is wanted, if its result lies beside it.

    Parameters
    ----------
    path : Path
    kind : type of Receipt
    required : mapping of str to str
        Values that its fields must have.
    """
    receipt = kind.read(path, required)
    return receipt if receipt is not None and receipt.has_result(path.parent) else None


def check_program(giver: str) -> None:
    """Raise if the work was given out by another version of lumpylens.

    Raises
    ------
    ModelError
        If `giver` is not the version that runs here.
    """
    installed = version("lumpylens")
    if giver != installed:
        raise ModelError(
            f"this machine has lumpylens {installed}, and the work was given out by {giver}; "
            "install the same everywhere"
        )
