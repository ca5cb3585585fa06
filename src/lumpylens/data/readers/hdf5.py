"""HDF5 files."""

from __future__ import annotations

import math
import mmap
import struct
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.readers import lenstronomy
from lumpylens.data.readers.bands import Stack
from lumpylens.data.readers.files import DataFiles, one_line, without_companions
from lumpylens.data.readers.named_arrays import choose_images, companions_of, origins_of
from lumpylens.data.readers.roman import open_challenge
from lumpylens.data.readers.roman_file import is_of_challenge
from lumpylens.data.readers.stacks import checked_table, open_stacks
from lumpylens.data.source import FailedSource, ImageSource, joined
from lumpylens.errors import DataError
from lumpylens.files.extras import pip_install

__all__ = ["open_hdf5"]

SCALE = "pixel_scale_arcsec"
"""Attribute of the images, their group or the file."""

CHUNK_CACHE_BYTES = 2**26
"""Holds a chunk of some hundred cutouts, so that each chunk is unpacked once."""

HEAP_MARK = b"GCOL\1\0\0\0"
HEAP_HEADER_BYTES = 16
OBJECT = struct.Struct("<H6xQ")
"""Index, reference count and padding, length."""
GZIP = 1
"""The library's number for this filter."""
PLACE = np.dtype([("length", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""Place of a text in the file. Where addresses have other than 8 bytes, places read like this lie
nowhere in the file, and it is refused."""


def open_hdf5(files: DataFiles) -> ImageSource:
    """Open HDF5 files.

    The images are the dataset called ``images``, in any group, or the only one with two axes or
    more. ``ids``, ``labels``, ``noise``, ``psf`` and ``jpeg_table`` are taken from beside it, and
    the attribute ``pixel_scale_arcsec`` from it, its group or the file. Files of lenstronomy are
    known by their ``image_data``, those of the Roman Data Challenge by their groups.
    """
    challenge = [path for path in files.paths if is_of_challenge(path)]
    if challenge:
        others = sorted(set(files.paths) - set(challenge))
        parts = [open_challenge(replace(files, paths=challenge))]
        parts += [open_hdf5(replace(files, paths=others))] if others else []
        return joined(parts, files.location)
    if files.alone:
        return open_stacks(files, read_hdf5)
    used = {lenstronomy.psf_beside(path) for path in files.paths}
    images, remarks = without_companions(files, used)
    images, refused = lenstronomy.bands_of_lenses(images, files.band)
    if refused and not images and files.band is not None:
        raise DataError(f"{files.location} has {next(iter(refused.values()))}")
    several = FailedSource(
        [files.name(path) for path in refused],
        [files.label(path) for path in refused],
        list(refused.values()),
        files.location,
    )
    stacks = open_stacks(replace(files, paths=images), read_hdf5)
    return joined([stacks, several], files.location, remarks)


def read_hdf5(path: Path, band: str | None) -> Stack:
    """Find the arrays of one file."""
    import h5py

    try:
        file = h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE_BYTES)
    except OSError as problem:
        if isinstance(problem, (PermissionError, FileNotFoundError)):
            raise
        raise DataError(f"not a whole HDF5 file: {one_line(problem)}") from None
    datasets: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            datasets[name] = item

    file.visititems(collect)
    if lenstronomy.IMAGE in datasets:
        return lenstronomy.stack_of(path, datasets)
    if lenstronomy.PSF in datasets:
        raise DataError(f"holds a PSF ({lenstronomy.PSF}) and no image")
    shapes = {key: item.shape for key, item in datasets.items()}
    name = choose_images(shapes, band)
    companions, remarks = companions_of(shapes, name)
    images = datasets[name]
    check_filters(images)
    group = name.rpartition("/")[0]
    beside = {
        key: datasets.get(f"{group}/{key}".lstrip("/")) for key in ("ids", "labels", "jpeg_table")
    }
    scale = next(
        (
            float(np.asarray(holder.attrs[SCALE]).item())
            for holder in (images, images.parent, file)
            if SCALE in holder.attrs
        ),
        None,
    )
    return Stack(
        images,
        noise=datasets[companions["noise"]] if "noise" in companions else None,
        psf=datasets[companions["psf"]] if "psf" in companions else None,
        ids=_values(beside["ids"], path),
        labels=_values(beside["labels"], path),
        pixel_scale_arcsec=scale,
        jpeg_table=checked_table(_values(beside["jpeg_table"], path)),
        of_band=name.rpartition("/")[2] == band,
        remarks=remarks,
        origins=origins_of(name, companions, "" if scale is None else SCALE),
    )


def check_filters(dataset: Any) -> None:
    """Refuse a dataset that was compressed by what this HDF5 library does not have.

    Raises
    ------
    DataError
        With the name of the filter, as the file spells it.
    """
    import h5py

    recipe = dataset.id.get_create_plist()
    filters = [recipe.get_filter(k) for k in range(recipe.get_nfilters())]
    if all(h5py.h5z.filter_avail(number) for number, *_ in filters):
        return
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  (it registers its filters when it is imported)
    for number, _, _, name in filters:
        if not h5py.h5z.filter_avail(number):
            words = name.decode(errors="replace").partition(";")[0]
            called = f"{words} ({number})" if words else str(number)
            raise DataError(
                f"{dataset.name} is compressed by the HDF5 filter {called}, which is not there; "
                f"those of hdf5plugin come with {pip_install('hdf5')}"
            )


def _values(dataset: Any, path: Path) -> NDArray[Any] | None:
    if dataset is None:
        return None
    if dataset.dtype.kind == "O" and (reason := texts_defect(dataset, path)):
        raise DataError(f"the texts of {dataset.name} cannot be read: {reason}")
    return np.asarray(dataset[()])


def texts_defect(dataset: Any, path: Path) -> str:
    """Say why texts of any length cannot be read from a dataset.

    Each is a length and a place in one of the file's global heaps. The HDF5 library takes memory
    for any length, and walks through a damaged heap without an end, where nothing can interrupt
    it, so both are looked at here first (HDF5 File Format Specification 3.0, III.E).

    Parameters
    ----------
    dataset : h5py.Dataset
    path : Path
        The file that it is in.
    """
    if dataset.size == 0:
        return ""
    recipe = dataset.id.get_create_plist()
    filters = {recipe.get_filter(k)[0] for k in range(recipe.get_nfilters())}
    if filters - {GZIP}:
        return "they are compressed, and not by gzip alone; store them as they are"
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file:
        if dataset.chunks:
            stored = [dataset.id.get_chunk_info(k) for k in range(dataset.id.get_num_chunks())]
            parts = [(chunk.byte_offset, chunk.size) for chunk in stored]
        else:
            parts = [(dataset.id.get_offset(), dataset.id.get_storage_size())]
        longest: dict[int, int] = {}
        for start, size in parts:
            if start is None or start + size > len(file):
                return "they lie nowhere in the file"
            content = file[start : start + size]
            if filters:
                most = math.prod(dataset.chunks) * PLACE.itemsize
                content = zlib.decompressobj().decompress(content, most)
            places = np.frombuffer(
                content[: len(content) // PLACE.itemsize * PLACE.itemsize], PLACE
            )
            for length, heap, _ in places[places["length"] > 0].tolist():
                longest[heap] = max(longest.get(heap, 0), length)
        defects = (heap_defect(file, heap, length) for heap, length in longest.items())
        return next((reason for reason in defects if reason), "")


def heap_defect(file: mmap.mmap, heap: int, longest: int) -> str:
    """Say why a global heap cannot hold an object of `longest` bytes, or cannot be walked."""
    if heap + HEAP_HEADER_BYTES > len(file) or file[heap : heap + len(HEAP_MARK)] != HEAP_MARK:
        return f"there is no heap at {heap}"
    (size,) = struct.unpack_from("<Q", file, heap + len(HEAP_MARK))
    if heap + size > len(file) or longest > size:
        return f"the heap at {heap} does not hold them"
    place = HEAP_HEADER_BYTES
    while place + OBJECT.size <= size:
        index, length = OBJECT.unpack_from(file, heap + place)
        # Free space, which has the index 0, counts its header; other objects are padded.
        step = length if index == 0 else OBJECT.size + -(-length // 8) * 8
        if not OBJECT.size <= step <= size - place:
            return f"the heap at {heap} is damaged"
        place += step
    return ""
