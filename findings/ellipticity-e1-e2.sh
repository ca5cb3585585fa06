#!/usr/bin/env bash
# Models: the same e1 and e2 are an axis ratio of 0.5 in lenstronomy and of 0.71 in GalSim.
# lenstronomy 1.14.2: e = (1 - q) / (1 + q) (Util.param_util). GalSim 2.8.5: e = (1 - q^2) / (1 + q^2),
# and what lenstronomy calls e is g (documentation of galsim.Shear).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet lenstronomy==1.14.2 galsim==2.8.5 astropy==8.0.2 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
from importlib.metadata import version

import galsim
import numpy as np
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import ellipticity2phi_q

e1, e2 = 1 / 3, 0.0


def axis_ratio(image, x, y):
    """From second moments."""
    return np.sqrt((image * y**2).sum() / (image * x**2).sum())


y, x = (np.mgrid[:401, :401] - 200) * 0.05
shape = {"R_sersic": 1.0, "n_sersic": 0.5, "e1": e1, "e2": e2, "center_x": 0, "center_y": 0}
galaxy = LightModel(["SERSIC_ELLIPSE"]).surface_brightness(x, y, [{"amp": 1.0, **shape}])
drawn = galsim.Sersic(n=0.5, half_light_radius=1.0).shear(e1=e1, e2=e2)
of_galsim = drawn.drawImage(nx=401, ny=401, scale=0.05, method="no_pixel").array
ratios = axis_ratio(galaxy, x, y), axis_ratio(of_galsim, x, y)
as_g = galsim.Shear(g1=e1, g2=e2).q
print("lenstronomy", version("lenstronomy"), "GalSim", galsim.__version__)
print(f"expected: e1 = {e1:.4f}, e2 = {e2} are one ellipse")
print(f"lenstronomy, e1 and e2: axis ratio {ratios[0]:.3f}")
print(f"GalSim, e1 and e2:      axis ratio {ratios[1]:.3f}")
print(f"GalSim, g1 and g2:      axis ratio {as_g:.3f}")
assert np.isclose(ellipticity2phi_q(e1, e2)[1], 0.5) and abs(ratios[0] - 0.5) < 0.01
assert abs(ratios[1] - np.sqrt(0.5)) < 0.01, "GalSim has another e1 now"
assert np.isclose(as_g, 0.5)
PROGRAM
