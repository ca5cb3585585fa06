#!/usr/bin/env bash
# FITS: GalSim writes the pixel scale in arcsec without saying so, and not always the keyword.
# GalSim 2.8.5, Image.write: CTYPE = LINEAR and CD without CUNIT; no GS_SCALE for a JacobianWCS.
# The scale is "typically in units of arcsec/pixel" (documentation of galsim.PixelScale).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet galsim==2.8.5 astropy==8.0.2 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import galsim
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

print("GalSim", galsim.__version__)
print("expected: astropy's WCS says 0.08 arcsec per pixel")
star = galsim.Gaussian(sigma=0.3)
for kind in (galsim.PixelScale(0.08), galsim.JacobianWCS(0.08, 0.0, 0.0, 0.08)):
    star.drawImage(nx=32, ny=32, wcs=kind).write("star.fits")
    header = fits.getheader("star.fits")
    sky = WCS(header)
    scales, units = proj_plane_pixel_scales(sky), [str(unit) for unit in sky.wcs.cunit]
    print(
        f"{type(kind).__name__:12} scales {scales}, units {units}, celestial {sky.has_celestial},",
        f"GS_SCALE {header.get('GS_SCALE', 'missing')}",
    )
    assert np.allclose(scales, 0.08)
    assert units == ["", ""], "the header has a unit now"
    assert not sky.has_celestial
    assert ("GS_SCALE" in header) == isinstance(kind, galsim.PixelScale)
PROGRAM
