"""Receipts: which work was done on a shard, with which settings, and its result in numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lumpylens.errors import ModelError
from lumpylens.files.digests import digest_of_file
from lumpylens.files.receipts import read_receipt, write_receipt
from lumpylens.scale.engine import one_at_a_time

__all__ = ["Receipt", "RecordedTask"]

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


class RecordedTask(ABC, Generic[AnyReceipt]):
    """Work on a shard that is done once, on any machine, and leaves a receipt beside its result.

    Attributes
    ----------
    folder : str
        Where result and receipt are written.
    lumpylens : str
        Version that the worker must have.
    kind : type of Receipt
    alone : bool
        Whether a process does one task at a time, since it changes settings of the whole process.
    """

    folder: str
    lumpylens: str
    kind: type[AnyReceipt]
    alone: ClassVar[bool] = True

    @property
    @abstractmethod
    def name(self) -> str:
        """Stem of the file names of result and receipt."""

    @abstractmethod
    def required(self) -> dict[str, str]:
        """Values that a receipt of this task must have."""

    @abstractmethod
    def perform(self) -> None:
        """Do the work: write the result, then the receipt."""

    @property
    def receipt_path(self) -> Path:
        """Path of the receipt, whether or not it exists."""
        return Path(self.folder) / f"{self.name}.json"

    def receipt(self) -> AnyReceipt | None:
        """Read the receipt of this very task; None if it or its result does not exist."""
        receipt = self.kind.read(self.receipt_path, self.required())
        found = receipt is not None and receipt.has_result(self.receipt_path.parent)
        return receipt if found else None

    def run(self) -> bool:
        """Do the work, unless it has a receipt; tell whether this call did it.

        Raises
        ------
        DataError
            If the work cannot be done, or its result not be written.
        ModelError
            If this machine has another version of the program, or another model.
        """
        check_program(self.lumpylens)
        with one_at_a_time if self.alone else nullcontext():
            if self.receipt() is not None:
                return False
            self.perform()
            return True


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
