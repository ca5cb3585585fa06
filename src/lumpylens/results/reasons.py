"""Why images have no score or no p-value, counted: where it is the same for all, once is enough."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["by_reason", "why_none"]

SHOWN = 3
"""Reasons that are spelled out; of the others the number of their images is given."""

NUMBER = re.compile(r"\d+(\.\d+)?")


def by_reason(texts: Iterable[str]) -> str:
    """Reasons with how many images each holds for, the most frequent first.

    Texts that differ in their numbers alone are one reason, given in the words of the first.

    Examples
    --------
    >>> by_reason(["empty file", "72 % are flat", "81 % are flat"])
    '72 % are flat (2 images, numbers of the first); empty file (1 image)'
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        kinds[NUMBER.sub("0", text)].append(text)
    ordered = sorted(kinds.values(), key=len, reverse=True)
    parts = []
    for kind in ordered[:SHOWN]:
        varied = ", numbers of the first" if len(set(kind)) > 1 else ""
        parts.append(f"{kind[0]} ({_images(len(kind))}{varied})")
    if remaining := sum(map(len, ordered[SHOWN:])):
        parts.append(f"other reasons ({_images(remaining)})")
    return "; ".join(parts)


def why_none(error: Sequence[str], warning: Sequence[str]) -> str:
    """One sentence where none of several images can be trusted, with what to do; else empty.

    Parameters
    ----------
    error, warning : sequence of str, length n
        Per image: why it has no score, and why not to trust it; empty if there is no such reason.
    """
    texts = [first or second for first, second in zip(error, warning, strict=True)]
    if len(texts) < 2 or not all(texts):
        return ""
    lacking = "can be scored" if all(error) else "gets a p-value"
    return (
        f"none of {len(texts)} images {lacking}: {by_reason(texts)}; compare `lumpylens info` of "
        "the images and of the model, or train a model on normal images of this kind"
    )


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"
