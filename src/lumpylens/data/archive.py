"""Unpacking archives that come from strangers: zip and tar.gz."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from lumpylens.errors import DataError

__all__ = ["unpack"]

MOST_MEMBERS = 50_000
LARGEST_MEMBER_BYTES = 2**24
LARGEST_TOTAL_BYTES = 2**29
"""Five times the members and fifty times the bytes of the challenge's archive."""

CHUNK_BYTES = 2**16

DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
)
"""What the standard library raises for archives that are cut off, damaged or encrypted."""


def unpack(archive: Path, into: Path, place: Callable[[tuple[str, ...]], str | None]) -> None:
    """Write the chosen files of a zip or tar.gz archive.

    Nothing in the archive decides where a file goes: `place` does.

    Parameters
    ----------
    archive : Path
    into : Path
        Existing folder.
    place : callable
        From the parts of a member's path to the file's path under `into`, None to leave it.

    Raises
    ------
    DataError
        If the archive is none, is damaged, holds links or paths that lead out of it, or is
        larger than any honest one. Files may have been written by then.
    """
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, into, place)
        elif _is_gzip(archive) or tarfile.is_tarfile(archive):
            _unpack_tar(archive, into, place)
        else:
            raise DataError("this is neither a zip nor a tar.gz archive, or it is cut off")
    except DAMAGE as problem:
        raise DataError(f"the archive is cut off or damaged ({problem})") from None


def _unpack_zip(archive: Path, into: Path, place: Callable[[tuple[str, ...]], str | None]) -> None:
    with zipfile.ZipFile(archive) as opened:
        allowed = Allowance()
        members = []
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            allowed.admit(
                info.filename, info.file_size, kind not in (0, stat.S_IFREG, stat.S_IFDIR)
            )
            target = None if info.is_dir() else place(parts_of(info.filename))
            if target is not None:
                members.append((info, target))
        for info, target in members:
            with opened.open(info) as content:
                _write(content, info.file_size, into / target)


def _unpack_tar(archive: Path, into: Path, place: Callable[[tuple[str, ...]], str | None]) -> None:
    allowed = Allowance()
    with (
        gzip.open(archive) if _is_gzip(archive) else archive.open("rb") as raw,
        # In this mode tarfile asks for nothing but read(), which its stub does not say.
        tarfile.open(fileobj=Bounded(raw), mode="r|") as opened,  # type: ignore[call-overload]
    ):
        for member in opened:
            allowed.admit(member.name, member.size, not (member.isreg() or member.isdir()))
            target = place(parts_of(member.name)) if member.isreg() else None
            content = opened.extractfile(member) if target is not None else None
            if target is not None and content is not None:
                _write(content, member.size, into / target)


class Allowance:
    """What an archive may hold; every member is counted, wanted or not."""

    def __init__(self) -> None:
        self.members = self.total = 0

    def admit(self, name: str, size: int, special: bool) -> None:
        """Refuse a member that no honest archive of pictures has."""
        parts = parts_of(name)
        if name.startswith("/") or "\\" in name or ".." in parts or ":" in name.split("/")[0]:
            raise DataError(f"refused: the archive holds a path that leads out of it: {name!r}")
        if special:
            raise DataError(f"refused: the archive holds a link or a special file: {name!r}")
        self.members += 1
        self.total += size
        if (
            size > LARGEST_MEMBER_BYTES
            or self.total > LARGEST_TOTAL_BYTES
            or self.members > MOST_MEMBERS
        ):
            raise DataError(
                f"refused: the archive is absurdly large at {name!r} "
                f"({self.members} files, {self.total / 1e6:.0f} MB unpacked)"
            )


class Readable(Protocol):
    """A stream of bytes, such as an open file."""

    def read(self, size: int, /) -> bytes:
        """Read as a file does."""
        ...


class Bounded:
    """A stream that raises `DataError` beyond the size that an honest archive unpacks to."""

    def __init__(self, stream: Readable) -> None:
        self.stream, self.left = stream, 2 * LARGEST_TOTAL_BYTES

    def read(self, size: int) -> bytes:
        """Read as a file does."""
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError("refused: the archive unpacks to an absurd size")
        return content


def parts_of(name: str) -> tuple[str, ...]:
    """Parts of a member's path."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _write(content: IO[bytes], size: int, target: Path) -> None:
    """Write what was declared; an archive whose member holds more lied about its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as written:
        for chunk in _chunks(content, size):
            written.write(chunk)


def _chunks(content: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while chunk := content.read(CHUNK_BYTES):
        left -= len(chunk)
        if left < 0:
            raise DataError("refused: the archive holds more than it declares")
        yield chunk
    if left:
        raise DataError("the archive is cut off")


def _is_gzip(archive: Path) -> bool:
    with archive.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"
