"""Which files lie under a path, what they are called, and what their folders say of them."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lumpylens.data.image import ANOMALOUS, NORMAL, UNKNOWN
from lumpylens.data.kinds import NOISE_KINDS, Kind, split_title
from lumpylens.errors import DataError

__all__ = [
    "CLASS_LABELS",
    "LARGEST_FILE_BYTES",
    "DataFiles",
    "file_bytes_of",
    "find_files",
    "is_store",
    "label_of",
    "one_line",
    "printable",
    "sole_folder",
    "system_reason",
    "without_companions",
]

CLASS_LABELS = {"no_sub": NORMAL, "sub": ANOMALOUS}
"""Folder names of the challenge, and what they mean."""

LARGEST_FILE_BYTES = 2**30
"""Largest size of a file that holds one cutout: 16,000 x 16,000 pixels in float32."""

STORE_MARKS = {"zarr.json", ".zgroup", ".zarray"}
"""Files that make a folder a Zarr store."""

PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<error>")
"""How web pages begin, and the XML with which object stores refuse a download."""


@dataclass(frozen=True)
class DataFiles:
    """Files of one format that are opened together.

    Attributes
    ----------
    root : Path
        Folder that image ids are relative to.
    paths : sequence of Path
        Sorted by their name under `root`.
    location : str
        What the user named, for messages.
    alone : bool
        True if the user named one file and not a folder.
    pixel_scale_arcsec : float or None
        Used where the files do not say.
    band : str or None
        Which of the bands to take, where files hold several.
    """

    root: Path
    paths: Sequence[Path]
    location: str
    alone: bool = False
    pixel_scale_arcsec: float | None = None
    band: str | None = None

    @cached_property
    def _root_name(self) -> str:
        return self.root.resolve().name

    def refuse_band(self, contents: str) -> None:
        """Refuse `band` for a format that has none.

        Parameters
        ----------
        there : str
            What the files are, in words.

        Raises
        ------
        DataError
            If a band was asked for.
        """
        if self.band is not None:
            raise DataError(
                f"{self.location} has no bands to choose {self.band!r} from: it holds {contents}"
            )

    def name(self, path: Path) -> str:
        """Posix path under `root`; the root itself is called by its own name."""
        relative = path.relative_to(self.root).as_posix()
        return printable(self._root_name if relative == "." else relative)

    def label(self, path: Path) -> int:
        """Label from the nearest folder that is named after a class.

        The root's own name counts, so that ``data/sub`` is known to be anomalous whether
        ``data`` or ``data/sub`` is opened.
        """
        folders = (self._root_name, *path.relative_to(self.root).parts[:-1])
        return label_of(folders)


def without_companions(
    files: DataFiles, used: Collection[Path | None] = ()
) -> tuple[list[Path], list[str]]:
    """Leave out noise maps, PSFs and masks, which their names tell; and say so.

    A file that the user named itself stays.

    Parameters
    ----------
    files : DataFiles
    used : collection of Path
        Left out without a word.
    """
    if files.alone:
        return list(files.paths), []
    kept: list[Path] = []
    companions: dict[Kind, list[Path]] = defaultdict(list)
    for path in files.paths:
        kind = split_title(path.stem)[1]
        if kind in (*NOISE_KINDS, Kind.PSF, Kind.MASK):
            if path not in used:
                companions[kind].append(path)
        else:
            kept.append(path)
    return kept, [
        f"not used: {len(paths)} files such as {files.name(paths[0])} ({kind})"
        for kind, paths in companions.items()
    ]


def label_of(names: Sequence[str]) -> int:
    """Label of the last name that is a class, -1 if none is."""
    known = [CLASS_LABELS[name] for name in names if name in CLASS_LABELS]
    return known[-1] if known else UNKNOWN


def printable(name: str) -> str:
    """Spell out bytes of a file name that are not valid text."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def find_files(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """List the visible files under a folder, and the folders that cannot be read.

    Links are followed, each real folder once. A Zarr store counts as one file.

    Returns
    -------
    files : list of Path
        Sorted by posix path under `folder`.
    unreadable : dict of Path to str
        Reason for each folder that cannot be listed.
    """
    files: list[str] = []
    unreadable: dict[Path, str] = {}
    visited: set[str] = set()

    def refuse(problem: OSError) -> None:
        unreadable[Path(problem.filename)] = f"folder cannot be read: {system_reason(problem)}"

    for here, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        visited.add(os.path.realpath(here))
        if STORE_MARKS & set(names):
            files.append(here)
            folders.clear()
            continue
        folders[:] = sorted(
            name
            for name in folders
            if not hidden(name) and os.path.realpath(os.path.join(here, name)) not in visited
        )
        files.extend(os.path.join(here, name) for name in names if not hidden(name))
    # With "/" made the smallest character, a folder's files stay together.
    files.sort(key=lambda path: path.replace(os.sep, "\0"))
    return [Path(path) for path in files], unreadable


def is_store(path: Path) -> bool:
    """Tell whether a folder is a Zarr store."""
    return any((path / mark).is_file() for mark in STORE_MARKS)


def sole_folder(folder: Path, files: Sequence[Path]) -> Path:
    """Go down while there is but one folder and nothing beside it, as in an unpacked archive.

    A class folder is not entered: its name says what its images are.
    """
    while files:
        first = {path.relative_to(folder).parts[0] for path in files}
        only = folder / first.pop()
        if first or not only.is_dir() or is_store(only) or only.name in CLASS_LABELS:
            break
        folder = only
    return folder


def hidden(name: str) -> bool:
    """Tell whether the system or an archiver left this file behind."""
    return name.startswith(".") or name == "__MACOSX"


def system_reason(problem: OSError) -> str:
    """The operating system's message without number and path."""
    return problem.strerror or one_line(problem)


def one_line(problem: BaseException | str) -> str:
    """Text of an exception as one short line that is safe to print."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."


def file_bytes_of(path: Path, *, limit: int | None = LARGEST_FILE_BYTES) -> int:
    """Size of a regular file that may hold an image.

    Raises
    ------
    OSError
    DataError
        If the file is empty, far too large, a device or pipe that would never end, or what
        came in place of a download.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError("not a regular file")
    if status.st_size == 0:
        raise DataError("empty file (zero bytes)")
    if limit is not None and status.st_size > limit:
        raise DataError(f"the file has {status.st_size / 1e9:.1f} GB, too large for a cutout")
    with path.open("rb") as stream:
        if reason := placeholder(stream.read(64)):
            raise DataError(reason)
    return status.st_size


def placeholder(start: bytes) -> str:
    """Name of what a file holds in place of an image, from its first bytes; empty if nothing.

    The text of a Git LFS pointer begins with its version (git-lfs specification, docs/spec.md).
    """
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return "a Git LFS pointer and not the file itself: run git lfs pull"
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(PAGES):
        return "a web page and not the file: the server answered the download with it"
    return ""
