"""`Summary`: a result that a few lines tell."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.files.json_files import write_json

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Summary"]


class Summary(ABC):
    """A result that a few lines tell, which are its `repr`."""

    @abstractmethod
    def to_dict(self) -> Mapping[str, Any]:
        """All facts and numbers."""

    @abstractmethod
    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame` of what can be a table.

        Raises
        ------
        DataError
            If pandas is not installed.
        """

    def write(self, path: str | Path) -> Path:
        """Write `to_dict` as a JSON file.

        Raises
        ------
        DataError
            If `path` does not end in ``.json``, or cannot be written.
        """
        write_json(self.to_dict(), Path(path))
        return Path(path)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"
