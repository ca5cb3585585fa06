"""Filters that headers alone tell: one lens in several, under names that say nothing of bands."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from lumpylens.data.readers.band_files import matching
from lumpylens.data.readers.companions import Cutout
from lumpylens.data.readers.fits_file import read_file, reading
from lumpylens.data.readers.fits_planes import planes_in
from lumpylens.data.sky import sky_of
from lumpylens.errors import DataError

__all__ = ["of_one_filter"]

FIRST, ANYWHERE = 50, 50
"""Files whose headers are read when a folder is opened: the first, among which those of one lens
follow each other, and as many from anywhere. Not tuned."""

SAME_LENS_DEG = 1 / 3600
"""Middles of cutouts of one lens in two filters are as near as this; two lenses never are."""


@dataclass(frozen=True)
class Headers:
    """What the headers of one file tell.

    Attributes
    ----------
    path : Path
    filters : set of str
        Of its images.
    target : str
        Name of the object.
    image : astropy HDU or None
    """

    path: Path
    filters: frozenset[str] = frozenset()
    target: str = ""
    image: Any = None

    @classmethod
    def of(cls, path: Path) -> Headers:
        """Read the headers of a file; what is wrong with it is said when it is read."""
        try:
            with reading():
                hdus = read_file(path).hdus
                planes, primary = planes_in(hdus), hdus[0].header
                filters = {plane.filter for plane in planes} - {""}
                target = str(primary.get("TARGNAME") or primary.get("OBJECT") or "").strip()
        except DataError:
            return cls(path)
        return cls(path, frozenset(filters), target, planes[0].hdu if planes else None)

    @cached_property
    def position(self) -> tuple[float, float] | None:
        """Right ascension and declination of the middle of the image, degrees."""
        sky = None if self.image is None else sky_of(self.image.header)
        if sky is None:
            return None
        height, width = self.image.shape[-2:]
        frame = sky.frame((width - 1) / 2, (height - 1) / 2)
        return None if frame is None else (frame.ra_deg, frame.dec_deg)

    def may_be_in(self, band: str) -> bool:
        """Whether an image is in a band, or does not say in which."""
        return not self.filters or bool(matching(self.filters, band))

    def shows_lens_of(self, other: Headers) -> bool:
        """Whether both files show the same place, or, where one has no place, the same target."""
        if self.position is None or other.position is None:
            return bool(self.target) and self.target == other.target
        (ra, dec), (other_ra, other_dec) = self.position, other.position
        east = math.remainder(ra - other_ra, 360) * math.cos(math.radians(dec))
        return math.hypot(east, dec - other_dec) < SAME_LENS_DEG


def of_one_filter(
    cutouts: Sequence[Cutout], band: str | None, location: str
) -> tuple[Sequence[Cutout], list[str]]:
    """Leave out cutouts of other filters than the one asked for, where headers name several.

    Parameters
    ----------
    cutouts : sequence of Cutout
    band : str or None
    location : str
        What the user named, for messages.

    Returns
    -------
    sequence of Cutout, list of str
        Those that remain, and remarks.

    Raises
    ------
    DataError
        If two files show one lens in two filters, and none is asked for.
    """
    if len(cutouts) < 2:
        return cutouts, []
    later = list(cutouts[FIRST:])
    some = [*cutouts[:FIRST], *random.Random(0).sample(later, min(ANYWHERE, len(later)))]
    sample = [Headers.of(cutout.path) for cutout in some]
    single = [headers for headers in sample if len(headers.filters) == 1]
    counts = Counter(name for headers in single for name in headers.filters)
    if len(counts) < 2:
        return cutouts, []
    names = ", ".join(sorted(counts))
    if band is not None:
        read = {headers.path: headers for headers in sample}
        chosen = [
            cutout
            for cutout in cutouts
            if (read.get(cutout.path) or Headers.of(cutout.path)).may_be_in(band)
        ]
        if not chosen:
            raise DataError(f"{location} has no bands to choose {band!r} from: it holds {names}")
        left_out = len(cutouts) - len(chosen)
        return chosen, [f"not used: {left_out} files, whose headers name other filters than {band}"]
    for first, second in combinations(single, 2):
        if first.filters != second.filters and first.shows_lens_of(second):
            raise DataError(
                f"{location} holds several bands of one lens, one file each, such as "
                f"{first.path.name} and {second.path.name}, by the filters in their headers: "
                f"{names}; choose one with band, such as --band {min(first.filters)}"
            )
    shown = ", ".join(f"{name} in {count}" for name, count in counts.most_common())
    return cutouts, [
        f"the headers of {len(sample)} files name several filters ({shown}); choose one with band"
    ]
