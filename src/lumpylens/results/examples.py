"""The few images that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumpylens.data.images import LensImages
from lumpylens.results.score_table import FIRST_COMPONENT, ScoreTable

__all__ = ["Example", "choose_examples"]

EXAMPLES_PER_GROUP = 6
"""Images in each group of the report; more would make it long to look through."""


@dataclass(frozen=True, eq=False)
class Example:
    """One image with its reconstruction and score.

    Attributes
    ----------
    id : str
    anomalous : bool
        Whether it was given as anomalous.
    rank : int
        Among the images of both classes, from 1, most anomalous first.
    anomaly_score, p_value : float
    image : ndarray of float32, shape (H, W)
    reconstruction : ndarray of float32, shape (H, W), or None
    pixel_scale_arcsec : float or None
    """

    id: str
    anomalous: bool
    rank: int
    anomaly_score: float
    p_value: float
    image: NDArray[np.float32]
    reconstruction: NDArray[np.float32] | None
    pixel_scale_arcsec: float | None = None


def choose_examples(
    images: Mapping[str, LensImages],
    tables: Mapping[str, ScoreTable],
    positions: Mapping[str, NDArray[np.int_]],
    reconstruct: Callable[[LensImages], NDArray[np.float32]],
    seed: int,
) -> dict[str, tuple[Example, ...]]:
    """Read and reconstruct the images at both ends of the ranking, and some drawn at random.

    Parameters
    ----------
    images, tables, positions : mapping
        By class, ``normal`` and ``anomalous``: the collection, its scores, and which of its
        images to choose from; all of these have a score.
    reconstruct : callable
        From images to their reconstructions, shape (n, H, W).
    seed : int
        Of the random draw.

    Returns
    -------
    dict
        ``highest`` and ``lowest`` of both classes, ``false_alarms`` (highest normal ones),
        ``missed`` (lowest anomalous ones), ``drawn`` (at random, half of each class).
    """
    spots = [(name, int(k)) for name in tables for k in positions[name]]
    spots.sort(key=lambda spot: -tables[spot[0]].anomaly_score[spot[1]])
    by_class = {name: [spot for spot in spots if spot[0] == name] for name in tables}
    rng = np.random.default_rng(seed)
    random_spots = [
        members[k]
        for members in by_class.values()
        for k in rng.permutation(len(members))[: EXAMPLES_PER_GROUP // 2]
    ]
    groups = {
        "highest": spots[:EXAMPLES_PER_GROUP],
        "lowest": spots[::-1][:EXAMPLES_PER_GROUP],
        "false_alarms": by_class["normal"][:EXAMPLES_PER_GROUP],
        "missed": by_class["anomalous"][::-1][:EXAMPLES_PER_GROUP],
        "drawn": random_spots,
    }
    rank = {spot: place for place, spot in enumerate(spots, 1)}
    examples: dict[tuple[str, int], Example] = {}
    for name, table in tables.items():
        positions_shown = sorted(
            {k for group in groups.values() for owner, k in group if owner == name}
        )
        collection = images[name][positions_shown]
        rebuilt: list[NDArray[np.float32] | None] = [None] * len(positions_shown)
        if np.isfinite(table.components[FIRST_COMPONENT][positions_shown]).all():
            rebuilt = list(reconstruct(collection))
        for k, item, reconstruction in zip(positions_shown, collection, rebuilt, strict=True):
            if item.image is not None:
                examples[name, k] = Example(
                    id=item.id,
                    anomalous=name == "anomalous",
                    rank=rank[name, k],
                    anomaly_score=float(table.anomaly_score[k]),
                    p_value=float(table.p_value[k]),
                    image=item.image,
                    reconstruction=reconstruction,
                    pixel_scale_arcsec=item.pixel_scale_arcsec,
                )
    return {
        group: tuple(examples[spot] for spot in members if spot in examples)
        for group, members in groups.items()
    }
