"""One reader per file format, and the one list of them.

A path may name one file, or a folder: flat, or with one sub-folder per class (``no_sub`` is
normal, ``sub`` is anomalous, other names say nothing). Ids are file names relative to the
folder; images of a stack are ``file[3]`` or carry the ids stored with them.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lumpylens.data.readers import lenstronomy
from lumpylens.data.readers.asdf import open_asdf
from lumpylens.data.readers.band_files import one_band_of
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

__all__ = ["READERS", "Reader", "open_path", "open_paths"]


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


def open_paths(
    paths: Sequence[Path], *, pixel_scale_arcsec: float | None = None, band: str | None = None
) -> ImageSource:
    """Open several files and folders as one collection.

    Ids are relative to the folder that holds all of them.

    Parameters
    ----------
    paths : sequence of Path
    pixel_scale_arcsec, band
        See `open_path`.

    Raises
    ------
    DataError
        If a path is not there or given twice, or none holds an image.
    """
    if not paths:
        raise DataError("no files are given; name files or folders of images")
    files: list[Path] = []
    unreadable: dict[Path, str] = {}
    homes: list[Path] = []
    for path in (path.expanduser().absolute() for path in paths):
        if not path.exists():
            raise DataError(f"no such file or folder: {path}")
        whole = path.is_dir() and not is_store(path)
        within, refused = find_files(path) if whole else ([path], {})
        if again := set(files) & set(within):
            raise DataError(f"{min(again)} is given twice")
        files += within
        unreadable |= refused
        homes.append(path if whole else path.parent)
    root = Path(os.path.commonpath(homes))
    return _open_files(root, files, unreadable, root, pixel_scale_arcsec, band)


def _open_folder(folder: Path, pixel_scale_arcsec: float | None, band: str | None) -> ImageSource:
    files, unreadable = find_files(folder)
    images = [path for path in files if any(reader.reads(path) for reader in READERS)]
    root = folder if unreadable or not images else sole_folder(folder, images)
    return _open_files(folder, files, unreadable, root, pixel_scale_arcsec, band)


def _open_files(
    folder: Path,
    files: Sequence[Path],
    unreadable: Mapping[Path, str],
    root: Path,
    pixel_scale_arcsec: float | None,
    band: str | None,
) -> ImageSource:
    """The images among files that were found in a folder; `root` is what ids are relative to."""
    images = [path for path in files if any(reader.reads(path) for reader in READERS)]
    if not images:
        refused = "; ".join(f"{path}: {reason}" for path, reason in unreadable.items())
        raise DataError(
            f"no images in {folder}{' (' + refused + ')' if refused else ''}: "
            f"looked for {LOOKED_FOR} in it and its sub-folders, found {len(files)} other files"
        )
    remarks = _passed_over(set(files) - set(images))
    images, left_out = _best_format(images)
    named = [path for path in images if not lenstronomy.is_of_dolphin(path)]
    choice = one_band_of(named, band, str(folder))
    remarks += left_out + choice.remarks
    unnamed = [path for path in images if path not in choice.chosen | choice.left_out]
    parts: list[ImageSource] = []
    # What was chosen by its name is in that band, whatever its header calls it.
    for paths, band_inside in (([p for p in images if p in choice.chosen], None), (unnamed, band)):
        for reader in READERS:
            of_format = [path for path in paths if reader.reads(path)]
            if of_format:
                data_files = DataFiles(
                    root, of_format, str(root), False, pixel_scale_arcsec, band_inside
                )
                parts.append(reader.open(data_files))
    failed = {**choice.missing, **unreadable}
    if failed:
        parts.append(
            FailedSource(
                [printable(path.relative_to(root).as_posix()) for path in failed],
                [label_of(path.relative_to(root).parts) for path in failed],
                list(failed.values()),
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
    return [f"files of other kinds are ignored ({', '.join(counts)})"] if counts else []


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
        f"{len(left_out)} files are ignored because a file of the same name has more precise "
        "numbers (the first is {}, next to {})".format(*left_out[0])
    ]


def _format(path: Path) -> tuple[int, str]:
    """Rank of a file's format, and the ending that tells it."""
    name = path.name.lower()
    for rank, endings in enumerate(FORMATS):
        for ending in endings:
            if name.endswith(ending):
                return rank, ending
    return len(FORMATS), ""  # a Zarr store
