"""One reader per file format, and the one list of them.

A path may name one file, or a folder: flat, or with one sub-folder per class (``no_sub`` is
normal, ``sub`` is anomalous, other names say nothing). Ids are file names relative to the
folder; images of a stack are ``file[3]`` or carry the ids stored with them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lumpylens.data.readers.asdf import open_asdf
from lumpylens.data.readers.files import (
    DataFiles,
    find_files,
    is_store,
    label_of,
    printable,
    sole_folder,
    system_reason,
)
from lumpylens.data.readers.fits import open_fits
from lumpylens.data.readers.hdf5 import open_hdf5
from lumpylens.data.readers.npy import open_numpy
from lumpylens.data.readers.parquet import open_parquet
from lumpylens.data.readers.pictures import open_pictures
from lumpylens.data.readers.zarr import open_zarr
from lumpylens.data.source import FailedSource, ImageSource, joined
from lumpylens.errors import DataError

__all__ = ["READERS", "Reader", "open_path"]


@dataclass(frozen=True)
class Reader:
    """How files with certain endings are opened.

    Attributes
    ----------
    name : str
    suffixes : tuple of str
        Lower-case endings of file names.
    open : callable
        From `DataFiles` to an `ImageSource`; reads no more than it needs to count images.
    """

    name: str
    suffixes: tuple[str, ...]
    open: Callable[[DataFiles], ImageSource]

    def reads(self, path: Path) -> bool:
        """Tell by its name whether a file is of this format; Zarr stores may have any name."""
        if path.name.lower().endswith(self.suffixes):
            return True
        return self.open is open_zarr and is_store(path)


READERS = (
    Reader("pictures", (".jpg", ".jpeg", ".png", ".tif", ".tiff"), open_pictures),
    Reader("numpy", (".npy", ".npz"), open_numpy),
    Reader("hdf5", (".h5", ".hdf5", ".hdf"), open_hdf5),
    Reader("fits", (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"), open_fits),
    Reader("parquet", (".parquet",), open_parquet),
    Reader("asdf", (".asdf",), open_asdf),
    Reader("zarr", (".zarr",), open_zarr),
)

LOOKED_FOR = ", ".join(suffix for reader in READERS for suffix in reader.suffixes)

FORMATS = (
    (".jpg", ".jpeg"),
    (".png",),
    (".tif", ".tiff"),
    *(reader.suffixes for reader in READERS[1:]),
)
"""Endings by format: of two files of one name, the later format has the better numbers."""

NO_IMAGES = (
    "", ".cfg", ".csv", ".ecsv", ".html", ".ipynb", ".json", ".log", ".md", ".pdf", ".py", ".rst",
    ".sh", ".toml", ".txt", ".xml", ".yaml", ".yml",
)  # fmt: skip
"""Endings of files that lie beside images and need no word."""


def open_path(
    path: Path, *, pixel_scale_arcsec: float | None = None, band: str | None = None
) -> ImageSource:
    """Open a file or folder of images; pixels are read later, one image at a time.

    Parameters
    ----------
    path : Path
    pixel_scale_arcsec : float, optional
        Used where the data do not say.
    band : str, optional
        Which of the bands to take, where files hold several.

    Raises
    ------
    DataError
        If there is nothing to read, in one line with what was looked for, or `band` is given and
        there are no bands.
    """
    path = path.expanduser()
    try:
        if path.is_dir() and not is_store(path):
            return _open_folder(path, pixel_scale_arcsec, band)
        if not path.exists():
            raise DataError(f"no such file or folder: {path}")
    except OSError as problem:
        raise DataError(f"{path} cannot be opened: {system_reason(problem)}") from None
    for reader in READERS:
        if reader.reads(path):
            return reader.open(
                DataFiles(path.parent, [path], str(path), True, pixel_scale_arcsec, band)
            )
    raise DataError(f"{path} is not an image file (looked for {LOOKED_FOR})")


def _open_folder(folder: Path, pixel_scale_arcsec: float | None, band: str | None) -> ImageSource:
    found, unreadable = find_files(folder)
    images = [path for path in found if any(reader.reads(path) for reader in READERS)]
    if not images:
        refused = "; ".join(f"{path}: {reason}" for path, reason in unreadable.items())
        raise DataError(
            f"no images in {folder}{' (' + refused + ')' if refused else ''}: "
            f"looked for {LOOKED_FOR} in it and its sub-folders, found {len(found)} other files"
        )
    remarks = _passed_over(set(found) - set(images))
    images, left_out = _best_format(images)
    remarks += left_out
    root = folder if unreadable else sole_folder(folder, images)
    parts: list[ImageSource] = []
    for reader in READERS:
        own = [path for path in images if reader.reads(path)]
        if own:
            parts.append(
                reader.open(DataFiles(root, own, str(root), False, pixel_scale_arcsec, band))
            )
    if unreadable:
        parts.append(
            FailedSource(
                [printable(path.relative_to(root).as_posix()) for path in unreadable],
                [label_of(path.relative_to(root).parts) for path in unreadable],
                list(unreadable.values()),
                str(root),
            )
        )
    source = joined(parts, str(root), remarks)
    if not len(source.ids):
        raise DataError(f"no images in {folder}: {'; '.join(source.remarks)}")
    return source


def _passed_over(others: Iterable[Path]) -> list[str]:
    """A sentence on files of other kinds, counted by ending."""
    endings = Counter(path.suffix.lower() for path in sorted(others))
    counts = [f"{n} {ending}" for ending, n in endings.most_common() if ending not in NO_IMAGES]
    return [f"files of other kinds are passed over ({', '.join(counts)})"] if counts else []


def _best_format(images: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Of files of one name in several formats those with the best numbers; and a sentence.

    Simulators write a coloured picture beside each array of numbers. FITS files of one name have
    numbers of one quality; all of them stay.
    """
    by_name: dict[Path, list[tuple[int, Path]]] = defaultdict(list)
    for path in images:
        rank, ending = _format(path)
        by_name[path.with_name(path.name[: len(path.name) - len(ending)])].append((rank, path))
    kept: list[Path] = []
    left_out: list[tuple[str, str]] = []
    for alike in by_name.values():
        best, better = max(alike, key=lambda item: item[0])
        kept += [path for rank, path in alike if rank == best]
        left_out += [(path.name, better.name) for rank, path in alike if rank < best]
    if not left_out:
        return kept, []
    return kept, [
        f"{len(left_out)} files are left out because a file of the same name has better numbers "
        "(the first is {}, beside {})".format(*left_out[0])
    ]


def _format(path: Path) -> tuple[int, str]:
    """Rank of a file's format, and the ending that tells it."""
    name = path.name.lower()
    for rank, endings in enumerate(FORMATS):
        for ending in endings:
            if name.endswith(ending):
                return rank, ending
    return len(FORMATS), ""  # a Zarr store
