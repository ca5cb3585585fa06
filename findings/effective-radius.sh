#!/usr/bin/env bash
# Models: the effective radius of a Sersic profile lies along the major axis in astropy, and is that
# of the circle of equal area in lenstronomy and GalSim. The total light differs by the axis ratio.
# astropy 8.0.2 (Sersic2D), lenstronomy 1.14.2 (SERSIC_ELLIPSE; its option sersic_major_axis), GalSim 2.8.5.
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
from astropy.modeling.models import Sersic2D
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.param_util import phi_q2_ellipticity

q, step = 0.5, 0.02
y, x = (np.mgrid[:1201, :1201] - 600) * step
e1, e2 = phi_q2_ellipticity(0.0, q)
shape = {"R_sersic": 1.0, "n_sersic": 1.0, "e1": e1, "e2": e2, "center_x": 0, "center_y": 0}
drawn = galsim.Exponential(half_light_radius=1.0).shear(q=q, beta=0 * galsim.degrees)
images = {
    "astropy": Sersic2D(amplitude=1.0, r_eff=1.0, n=1.0, ellip=1 - q)(x, y),
    "lenstronomy": LightModel(["SERSIC_ELLIPSE"]).surface_brightness(x, y, [{"amp": 1.0, **shape}]),
    "GalSim": drawn.drawImage(nx=1201, ny=1201, scale=step, method="no_pixel").array,
}
for name in images:
    print(name, version(name.lower()), end=" ")
print("\nexpected: an effective radius of 1 and an axis ratio of 0.5 are one galaxy")
half_light = {}
for name, image in images.items():
    radius = np.sqrt(q * x**2 + y**2 / q)
    order = np.argsort(radius, axis=None)
    light = np.cumsum(image.ravel()[order], dtype=float)
    half_light[name] = radius.ravel()[order][np.searchsorted(light, light[-1] / 2)]
    print(f"{name:12} half of the light in an ellipse of sqrt(a b) = {half_light[name]:.3f}")
ratio = images["lenstronomy"].sum() / images["astropy"].sum()
print(f"at the same brightness there, lenstronomy's galaxy has {ratio:.2f} times the light")
assert abs(half_light["astropy"] - np.sqrt(q)) < 0.01, "astropy has another radius now"
assert abs(half_light["lenstronomy"] - 1) < 0.01, "lenstronomy has another radius now"
assert abs(half_light["GalSim"] - 1) < 0.01, "GalSim has another radius now"
assert abs(ratio - 1 / q) < 0.02
PROGRAM
