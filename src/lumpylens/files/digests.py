"""Digests: what tells whether content, settings or files are still the same.

They are kept in files of results, so none of them may ever change its value.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lumpylens.errors import DataError

__all__ = [
    "SHORT_BYTES",
    "digest_of",
    "digest_of_file",
    "digest_of_settings",
    "short_digest_of",
    "stamp",
]

SHORT_BYTES = 16
"""Of a `short_digest_of`."""

Content: TypeAlias = str | bytes | NDArray[Any]


def digest_of(*parts: Content) -> str:
    """SHA-256 of texts, bytes and pixels, one after the other, in 64 hexadecimal digits.

    Where one part ends does not count: give shapes with arrays.

    Examples
    --------
    >>> digest_of("ab", b"c") == digest_of("abc")
    True
    """
    total = hashlib.sha256()
    for part in parts:
        total.update(_bytes(part))
    return total.hexdigest()


def short_digest_of(*parts: Content) -> bytes:
    """BLAKE2b in `SHORT_BYTES`: little enough to keep one of each of many images."""
    total = hashlib.blake2b(digest_size=SHORT_BYTES)
    for part in parts:
        total.update(_bytes(part))
    return total.digest()


def _bytes(part: Content) -> bytes | memoryview:
    if isinstance(part, str):
        # Names of files may hold bytes that are no UTF-8.
        return part.encode(errors="surrogateescape")
    return np.ascontiguousarray(part).data if isinstance(part, np.ndarray) else part


def digest_of_settings(values: Mapping[str, Any]) -> str:
    """`digest_of` settings that JSON can hold, in whatever order.

    Examples
    --------
    >>> digest_of_settings({"a": 1, "b": "x"}) == digest_of_settings({"b": "x", "a": 1})
    True
    """
    return digest_of(json.dumps(values, sort_keys=True))


def digest_of_file(path: Path) -> str:
    """`digest_of` the content of a file of any size."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(path: Path) -> str:
    """`digest_of` names, sizes and times of change of a file, or of all files under a folder.

    Cheap beside reading the files; a copy that keeps its times keeps its stamp.

    Raises
    ------
    DataError
        If there is nothing of that name.
    """
    try:
        return digest_of(*_lines(path))
    except OSError as problem:
        raise DataError(f"{path} cannot be read: {problem.strerror or problem}") from None


def _lines(path: Path) -> Iterator[bytes]:
    for name, place in _files(path):
        status = os.stat(place)
        line = f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n"
        yield line.encode(errors="replace")


def _files(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_dir():
        yield "", str(path)
        return
    for parent, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(parent, name)
            # A link to nowhere is a row with a reason when the shard is read.
            if os.path.exists(file):
                yield os.path.relpath(file, path), file
