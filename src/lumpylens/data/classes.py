"""Which class folders a collection comes from, and whether one may learn from it."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import ArrayLike

from lumpylens.data.image import ANOMALOUS, NORMAL
from lumpylens.data.images import LensImages
from lumpylens.errors import DataError

__all__ = ["class_folders", "labelled_normal", "normal_parts", "refuse_anomalies"]

NAMES_OF_NORMAL = ("no_sub", "no", "good", "normal", "smooth")
"""What folders of normal images are called, for advice alone: only ``no_sub`` is a label."""

SHOWN = 6
"""Folders that a message names."""


def class_folders(images: LensImages) -> dict[str, int]:
    """Folders under the opened one and how many images each holds, most first.

    Empty unless there are several and two images or more in each, on average: one folder for
    each lens is no class. What lies beside the folders counts as ``.``.
    """
    counts = Counter(name.split("/")[0] if "/" in name else "." for name in images.ids)
    return dict(counts.most_common()) if 1 < len(counts) <= len(images) / 2 else {}


def labelled_normal(images: LensImages) -> LensImages:
    """Those of `images` that are labelled normal.

    Raises
    ------
    DataError
        If there are none.
    """
    normal = np.flatnonzero(images.labels == NORMAL)
    if not len(normal):
        raise DataError(
            f"none of {len(images)} images of {images.location} is labelled normal; if all of them "
            "are, leave out normal_only"
        )
    return images[normal]


def refuse_anomalies(images: LensImages) -> LensImages:
    """Return `images`, or raise `DataError` if not all of them are to be taken for normal.

    Anomalous labels are refused, unlabelled images beside normal ones, and several class folders,
    unless all lie under a folder called ``no_sub``.
    """
    labels, folders = images.labels, class_folders(images)
    anomalous, normal = labels == ANOMALOUS, labels == NORMAL
    if not anomalous.any() and (normal.all() or not (folders or normal.any())):
        return images
    if anomalous.any():
        finding = (
            f"{np.count_nonzero(anomalous)} of {len(images)} images of {images.location} are "
            f"labelled anomalous (the first is {images.ids[int(np.argmax(anomalous))]})"
        )
    elif folders:
        listed = [f"{name} {count}" for name, count in list(folders.items())[:SHOWN]]
        more = ", ..." if len(folders) > SHOWN else ""
        finding = f"{images.location} holds images of several folders ({', '.join(listed)}{more})"
    else:
        finding = (
            f"{np.count_nonzero(~normal)} of {len(images)} images of {images.location} are "
            "unlabelled and the others normal "
            f"(the first unlabelled one is {images.ids[int(np.argmin(normal))]})"
        )
    raise DataError(
        f"{finding}, and a detector learns from normal images alone; {_advice(images, folders)}"
    )


def normal_parts(
    images: LensImages | ArrayLike, validation: LensImages | ArrayLike | None
) -> tuple[LensImages, LensImages]:
    """Images to learn from and to check with, none of them labelled anomalous.

    Raises
    ------
    DataError
        If one is, or there are too few.
    """
    normal = refuse_anomalies(LensImages.open(images))
    if validation is None:
        held_out = np.arange(len(normal)) % 10 == 9
        normal, check = normal[~held_out], normal[held_out]
    else:
        check = refuse_anomalies(LensImages.open(validation))
    if len(normal) < 8 or len(check) < 1:
        raise DataError(
            f"{len(normal)} training and {len(check)} validation images are too few to learn "
            "from; give at least 10"
        )
    return normal, check


def _advice(images: LensImages, folders: dict[str, int]) -> str:
    """Advice which folder or file to learn from, by names or labels if there are any."""
    labelled = [images.ids[k] for k in np.flatnonzero(images.labels == NORMAL)[:1]]
    # A folder above the image, or the stack that holds it.
    places = [name.rpartition("/")[0] or name.rpartition("[")[0] for name in labelled]
    places += [name for name in NAMES_OF_NORMAL if name in folders]
    if places and places[0]:
        return f"train on {images.location}/{places[0]} instead"
    if places:
        return "with normal_only (--normal-only) it learns from those that are labelled normal"
    return "name the folder or file of normal ones, or call a folder no_sub in which all are normal"
