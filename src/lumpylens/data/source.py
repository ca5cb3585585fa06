"""Sources that are made of others, or of reasons."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from lumpylens.data.image import LensImage
from lumpylens.data.images import ImageSource

__all__ = ["FailedSource", "JoinedSource", "joined"]


@dataclass(frozen=True)
class FailedSource:
    """Files that hold no image that can be read: one row each, with the reason."""

    ids: Sequence[str]
    labels: Sequence[int]
    reasons: Sequence[str]
    location: str

    def load(self, position: int) -> LensImage:
        """Give the reason."""
        return LensImage(
            self.ids[position], None, label=self.labels[position], error=self.reasons[position]
        )


@dataclass(frozen=True)
class JoinedSource:
    """Several sources, one after the other."""

    parts: Sequence[ImageSource]
    location: str

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of all parts."""
        return [name for part in self.parts for name in part.ids]

    @cached_property
    def labels(self) -> Sequence[int]:
        """Labels of all parts."""
        return [label for part in self.parts for label in part.labels]

    @cached_property
    def _starts(self) -> list[int]:
        return list(accumulate((len(part.ids) for part in self.parts), initial=0))

    def load(self, position: int) -> LensImage:
        """Read one image from the part that holds it."""
        part = bisect_right(self._starts, position) - 1
        return self.parts[part].load(position - self._starts[part])


def joined(parts: Sequence[ImageSource], location: str) -> ImageSource:
    """Join what has images; a single part stays as it is."""
    kept = [part for part in parts if len(part.ids)]
    return kept[0] if len(kept) == 1 else JoinedSource(kept, location)
