"""Table of the true numbers of simulated images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lumpylens.simulation.lens import Lens
from lumpylens.simulation.perturbers import Perturber
from lumpylens.simulation.sources import Clump, SourceGalaxies

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["truth_table"]

ALWAYS = ("x_px", "y_px", "einstein_radius_px")
"""Columns of perturbers that the table has even if there are none."""


def truth_table(
    ids: Sequence[str],
    labels: Sequence[int],
    lenses: Iterable[Lens],
    galaxies: SourceGalaxies | None = None,
) -> Table:
    """Make a table of true numbers, one row per image.

    Perturbers are columns of shape (n, k), padded with masses of Einstein radius 0; so are
    clumps of the source, where there are any. What a population does not have is left out.
    """
    from astropy import units
    from astropy.table import Table

    plain = [f.name for f in fields(Lens) if f.name not in ("perturbers", "clumps", "scale")]
    columns: dict[str, list[Any]] = {name: [] for name in plain}
    columns |= {"msun_per_px2": [], "kpc_per_px": [], "perturber_profile": []}
    lumps: list[NDArray[np.float64]] = []
    clumps: list[NDArray[np.float64]] = []
    sizes = [name for name in Perturber._fields if name != "profile"]
    parts = [f.name for f in fields(Clump)]
    for lens in lenses:
        for name in plain:
            columns[name].append(getattr(lens, name))
        columns["msun_per_px2"].append(lens.scale.msun_per_px2 if lens.scale else math.nan)
        kpc = lens.scale.kpc_per_px if lens.scale else None
        columns["kpc_per_px"].append(math.nan if kpc is None else kpc)
        columns["perturber_profile"].append(lens.perturbers[0].profile if lens.perturbers else "")
        lumps.append(_rows(lens.perturbers, sizes))
        clumps.append(_rows(lens.clumps, parts))
    if galaxies is None:
        del columns["source_image"], columns["source_image_angle_deg"]
    else:
        columns["source_image"] = [galaxies.ids[k] for k in columns["source_image"]]
    kept = {name: values for name, values in columns.items() if _says_something(values)}
    rows = Table({"id": list(ids), "label": list(labels), **kept})
    for prefix, names, rows_by_lens in (("perturber", sizes, lumps), ("clump", parts, clumps)):
        stacked = _padded(rows_by_lens, len(names))
        for k, name in enumerate(names):
            if (prefix == "perturber" and name in ALWAYS) or stacked[:, :, k].any():
                rows[f"{prefix}_{name}"] = stacked[:, :, k]
    for name in rows.colnames:
        for ending, unit in (("_px", units.pix), ("_deg", units.deg), ("_msun", units.Msun)):
            if name.endswith(ending) and name != "kpc_per_px":
                rows[name].unit = unit
    return rows


def _says_something(values: Sequence[Any]) -> bool:
    return any(value != "" and value == value for value in values)


def _rows(objects: Sequence[Any], names: Sequence[str]) -> NDArray[np.float64]:
    return np.array([[getattr(item, name) for name in names] for item in objects], float).reshape(
        len(objects), len(names)
    )


def _padded(tables: Sequence[NDArray[np.float64]], width: int) -> NDArray[np.float64]:
    most = max((len(rows) for rows in tables), default=0)
    out = np.zeros((len(tables), most, width))
    for place, rows in zip(out, tables, strict=True):
        place[: len(rows)] = rows
    return out
