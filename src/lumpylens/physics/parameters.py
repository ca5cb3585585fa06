"""Parameters of a smooth lens, in coordinates without bounds.

Each image has one vector of `COUNT` numbers. Lengths and indices are logarithms, and ellipticities
are ``eta = -ln(q) (cos 2 phi, sin 2 phi)``, so every vector is a valid lens and no fit can leave
the allowed region.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["COUNT", "GEOMETRY", "INDEX", "NAMES", "ORIENTED", "SHAREABLE", "pack", "rotate"]

NAMES = (
    "log_einstein_radius_px",
    "shear_1",
    "shear_2",
    "source_x",
    "source_y",
    "source_eta_1",
    "source_eta_2",
    "lens_light_eta_1",
    "lens_light_eta_2",
    "log_source_radius_px",
    "log_source_index",
    "log_lens_light_radius_px",
    "log_lens_light_index",
    "mass_eta_1",
    "mass_eta_2",
    "centre_x_px",
    "centre_y_px",
    "log_psf_sigma_px",
)
"""Order of the parameter vector. `source_x` and `source_y` are in Einstein radii."""

INDEX = {name: position for position, name in enumerate(NAMES)}
COUNT = len(NAMES)

GEOMETRY = NAMES[:9]
"""Parameters that are always fitted for each image."""

SHAREABLE = NAMES[9:]
"""Parameters with one value for a whole population, unless its normal images show that they
vary."""

ORIENTED = (
    ("shear_1", "shear_2"),
    ("source_eta_1", "source_eta_2"),
    ("lens_light_eta_1", "lens_light_eta_2"),
    ("mass_eta_1", "mass_eta_2"),
)
"""Pairs that rotate by twice the angle by which the image is rotated."""


def pack(**values: Tensor | float) -> Tensor:
    """Build parameter vectors from named values.

    Parameters
    ----------
    **values : Tensor of shape (n,) or float
        Keys from `NAMES`. By default the lens is round and without shear, the lens galaxy has a
        Sersic index of e and the source of 1, and both have a radius of 0.4 Einstein radii.

    Returns
    -------
    Tensor, shape (n, COUNT)
    """
    radius = torch.as_tensor(values.get("log_einstein_radius_px", 3.0))
    defaults: dict[str, Tensor | float] = {
        "log_einstein_radius_px": radius,
        "log_source_radius_px": radius - 0.9,
        "log_lens_light_radius_px": radius - 0.9,
        "log_lens_light_index": 1.0,
    }
    unknown = set(values) - set(NAMES)
    if unknown:
        raise KeyError(f"unknown parameters {sorted(unknown)}; known: {', '.join(NAMES)}")
    columns = [torch.as_tensor(values.get(name, defaults.get(name, 0.0))) for name in NAMES]
    return torch.stack(torch.broadcast_tensors(*(torch.atleast_1d(c) for c in columns)), dim=-1)


def rotate(parameters: Tensor, angle: Tensor) -> Tensor:
    """Rotate lenses about the centre of the image.

    Parameters
    ----------
    parameters : Tensor, shape (n, COUNT)
    angle : Tensor, shape (n,)
        Radians, from the x axis towards the y axis.
    """
    turned = parameters.clone()
    pairs = [(a, b, 2) for a, b in ORIENTED]
    pairs += [("source_x", "source_y", 1), ("centre_x_px", "centre_y_px", 1)]
    for first, second, times in pairs:
        i, j = INDEX[first], INDEX[second]
        cos, sin = torch.cos(times * angle), torch.sin(times * angle)
        turned[:, i] = cos * parameters[:, i] - sin * parameters[:, j]
        turned[:, j] = sin * parameters[:, i] + cos * parameters[:, j]
    return turned
