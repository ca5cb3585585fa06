"""Splits by pixel content: the same for any name, format, machine and order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.files.digests import SHORT_BYTES, short_digest_of

__all__ = [
    "PARTS",
    "Split",
    "check_disjoint",
    "contained",
    "digests_of",
    "part_of",
    "pixel_digest",
    "split",
]

PARTS = ("train", "validation", "calibration", "test")
TENTHS = (7, 8, 9, 10)
"""Upper end of each part, in tenths of all digests: 70/10/10/10."""


def pixel_digest(image: NDArray[np.float32]) -> bytes:
    """Name an image by its pixels alone.

    Parameters
    ----------
    image : ndarray of float32, shape (H, W)

    Returns
    -------
    bytes
        16 bytes of BLAKE2b over ``HxW;float32;`` and the pixels, little-endian, row by row.

    Examples
    --------
    >>> import numpy as np
    >>> pixel_digest(np.zeros((2, 3), np.float32)).hex()
    '497d09d2f76805002d40082b9d68332c'
    """
    height, width = image.shape
    # Adding zero turns -0.0, which equals 0.0 but has other bytes, into 0.0.
    pixels = np.ascontiguousarray(np.asarray(image, np.float32) + np.float32(0), dtype="<f4")
    return short_digest_of(f"{height}x{width};float32;", pixels)


def part_of(digest: bytes) -> str:
    """Part that an image with this digest belongs to, always.

    Examples
    --------
    >>> part_of(bytes(16)), part_of(bytes([255] * 16))
    ('train', 'test')
    """
    tenth = (int.from_bytes(digest[:8], "big") * 10) >> 64
    return next(part for part, end in zip(PARTS, TENTHS, strict=True) if tenth < end)


@dataclass(frozen=True, eq=False)
class Split:
    """The four parts of a collection.

    Attributes
    ----------
    train, validation, calibration, test : LensImages
        Readable images of one shape; of exact duplicates the first alone.
    digests : dict of str to ndarray of uint8, shape (n, 16)
        Digest of each image, by part.
    failed : dict of int to str
        Position in the collection and reason of each image that cannot be used.
    duplicates : int
        Number of images left out because their pixels occur before.
    """

    train: LensImages
    validation: LensImages
    calibration: LensImages
    test: LensImages
    digests: dict[str, NDArray[np.uint8]]
    failed: dict[int, str]
    duplicates: int


def split(images: LensImages, progress: Callable[[], None] | None = None) -> Split:
    """Divide a collection by pixel content; reads every image once.

    Images of another shape than most are left out as failed, since nothing learns from two
    shapes at once.

    Parameters
    ----------
    images : LensImages
    progress : callable, optional
        Called once per image.
    """
    failed: dict[int, str] = {}
    digests: dict[int, bytes] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for position, digest, shape, error in _read(images, progress):
        if error:
            failed[position] = error
        else:
            digests[position], shapes[position] = digest, shape
    if shapes:
        usual = Counter(shapes.values()).most_common(1)[0][0]
        for position, shape in shapes.items():
            if shape != usual:
                failed[position] = "image is {}x{} pixels, most are {}x{}".format(*shape, *usual)
                del digests[position]
    first: dict[bytes, int] = {}
    for position, digest in digests.items():
        first.setdefault(digest, position)
    members: dict[str, list[int]] = {part: [] for part in PARTS}
    for digest, position in first.items():
        members[part_of(digest)].append(position)
    chosen = {part: images[np.array(members[part], dtype=int)] for part in PARTS}
    return Split(
        **chosen,
        digests={part: _as_rows([digests[at] for at in members[part]]) for part in PARTS},
        failed=dict(sorted(failed.items())),
        duplicates=len(digests) - len(first),
    )


def digests_of(
    images: LensImages, progress: Callable[[], None] | None = None
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """Digest of every image.

    Parameters
    ----------
    images : LensImages
    progress : callable, optional
        Called once per image.

    Returns
    -------
    digests : ndarray of uint8, shape (n, 16)
        One row per image in order; zeros for an image that cannot be read.
    failed : dict of int to str
        Position and reason of each of those.
    """
    rows: list[bytes] = []
    failed: dict[int, str] = {}
    for position, digest, _, error in _read(images, progress):
        rows.append(digest)
        if error:
            failed[position] = error
    return _as_rows(rows), failed


def contained(digests: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell which digests are among the known ones.

    Parameters
    ----------
    digests : ndarray of uint8, shape (n, 16)
    known : ndarray of uint8, shape (m, 16)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    known_digests = set(_as_bytes(known))
    return np.array([digest in known_digests for digest in _as_bytes(digests)], dtype=bool)


def check_disjoint(*digest_arrays: NDArray[np.uint8]) -> None:
    """Make sure that no image content is in two parts.

    Parameters
    ----------
    *digest_arrays : ndarray of uint8, shape (n, 16)
        Digests of each part.

    Raises
    ------
    DataError
        If one is, with its digest and the parts, counted from 1.
    """
    home: dict[bytes, int] = {}
    for number, digests in enumerate(digest_arrays, start=1):
        for digest in _as_bytes(digests):
            if home.setdefault(digest, number) != number:
                raise DataError(
                    f"the image with content {digest.hex()} is in part {home[digest]} and in part "
                    f"{number} of {len(digest_arrays)}; parts must have no image in common"
                )


def _read(
    images: LensImages, progress: Callable[[], None] | None
) -> Iterator[tuple[int, bytes, tuple[int, ...], str]]:
    """Position, digest, shape and error of each image."""
    for position, item in enumerate(images):
        if progress is not None:
            progress()
        if item.error or item.image is None:
            yield position, bytes(SHORT_BYTES), (), item.error or "no pixels"
        else:
            yield position, pixel_digest(item.image), item.image.shape, ""


def _as_rows(digests: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, SHORT_BYTES).copy()


def _as_bytes(digests: NDArray[np.uint8]) -> list[bytes]:
    return [row.tobytes() for row in np.asarray(digests, np.uint8)]
