#!/usr/bin/env bash
# Models: an Einstein radius of 1 arcsec is 6 % less deflection in PyAutoGalaxy than in lenstronomy,
# for an axis ratio of 0.5, and the components of its ellipticity come in the order (sin, cos).
# autogalaxy 2026.7.29.1, lenstronomy 1.14.2; issues 563 and 616 of PyAutoLabs/PyAutoLens.
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
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.Util.param_util import phi_q2_ellipticity

q, degrees = 0.5, 30.0
x, y = np.array([1.0, 0.0, 0.5]), np.array([0.0, 1.0, -0.7])
e1, e2 = phi_q2_ellipticity(np.radians(degrees), q)
shape = {"e1": e1, "e2": e2, "center_x": 0.0, "center_y": 0.0}
of_lenstronomy = np.stack(LensModel(["SIE"]).alpha(x, y, [{"theta_E": 1.0, **shape}]))

components = ag.convert.ell_comps_from(axis_ratio=q, angle=degrees)
grid = ag.Grid2DIrregular(list(zip(y, x)))
mass = ag.mp.Isothermal(centre=(0.0, 0.0), ell_comps=components, einstein_radius=1.0)
of_autogalaxy = np.asarray(mass.deflections_yx_2d_from(grid=grid).array)[:, ::-1].T

ratios = of_autogalaxy / of_lenstronomy
wanted = 2 * np.sqrt(q) / (1 + q)
print("autogalaxy", version("autogalaxy"), "lenstronomy", version("lenstronomy"))
print("expected: the same isothermal ellipsoid from the same Einstein radius and components")
print(f"lenstronomy (e1, e2)  = ({e1:.3f}, {e2:.3f})")
print(f"autogalaxy  ell_comps = ({components[0]:.3f}, {components[1]:.3f})")
print("deflection, autogalaxy over lenstronomy:", ratios.round(4).tolist())
print(f"2 sqrt(q) / (1 + q) = {wanted:.4f}")
assert np.allclose(components, (e2, e1)), "the components come in another order now"
assert np.allclose(ratios, wanted, rtol=1e-3), "the Einstein radius means something else now"
PROGRAM
