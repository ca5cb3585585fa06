#!/usr/bin/env bash
# Models: `sigma` of an elliptical Gaussian lies along the minor axis in PyAutoGalaxy, and is the mean
# of both axes in lenstronomy: for an axis ratio of 0.5 the same sigma is a galaxy 1.4 times as large.
# autogalaxy 2026.7.29.1, lenstronomy 1.14.2; seen by comparison.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet autogalaxy==2026.7.29.1 lenstronomy==1.14.2

export PYAUTO_SKIP_WORKSPACE_VERSION_CHECK=1
venv/bin/python -I -W ignore - <<'PROGRAM'
from importlib.metadata import version

import autogalaxy as ag
import numpy as np
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import phi_q2_ellipticity

q, sigma = 0.5, 1.0
x, y = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])  # middle, major axis, minor axis
e1, e2 = phi_q2_ellipticity(0.0, q)
shape = {"e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0}
of_lenstronomy = LightModel(["GAUSSIAN_ELLIPSE"]).surface_brightness(
    x, y, [{"amp": 1.0, "sigma": sigma, **shape}]
)
galaxy = ag.lp.Gaussian(
    centre=(0.0, 0.0), ell_comps=(e2, e1), intensity=of_lenstronomy[0], sigma=sigma
)
grid = ag.Grid2DIrregular(list(zip(y, x)))
of_autogalaxy = np.asarray(galaxy.image_2d_from(grid=grid).array)


def widths(light):
    """Standard deviations along the major and the minor axis."""
    return 1 / np.sqrt(2 * np.log(light[0] / light[1:]))


print("autogalaxy", version("autogalaxy"), "lenstronomy", version("lenstronomy"))
print("expected: the same Gaussian from the same sigma, axis ratio and peak")
print("lenstronomy, major and minor axis:", widths(of_lenstronomy).round(3).tolist())
print("autogalaxy, major and minor axis: ", widths(of_autogalaxy).round(3).tolist())
assert np.allclose(widths(of_lenstronomy), (sigma / np.sqrt(q), sigma * np.sqrt(q)), rtol=1e-3)
assert np.allclose(widths(of_autogalaxy), (sigma / q, sigma), rtol=1e-3), "it means something else"
PROGRAM
