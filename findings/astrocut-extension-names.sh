#!/usr/bin/env bash
# FITS: in a cutout by astrocut science, error and weight planes have the same name, CUTOUT.
# astrocut 1.4.0: fits_cut(..., extension="all"); EXTNAME of the original is moved to O_EXT_NM
# (astrocut/fits_cutout.py, "Naming the extension and preserving the original name").
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet astrocut==1.4.0 astropy==8.0.2 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import warnings

import astrocut
import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

warnings.simplefilter("ignore")
sky = WCS(naxis=2)
sky.wcs.ctype = ["RA---TAN", "DEC--TAN"]
sky.wcs.crval, sky.wcs.crpix = [150.0, 2.0], [50.5, 50.5]
sky.wcs.cdelt = [-0.05 / 3600, 0.05 / 3600]
values = {"SCI": 1.0, "ERR": 0.1, "WHT": 100.0}
planes = [
    fits.ImageHDU(np.full((100, 100), value, np.float32), sky.to_header(), name=name)
    for name, value in values.items()
]
fits.HDUList([fits.PrimaryHDU(), *planes]).writeto("mosaic.fits")
path = astrocut.fits_cut("mosaic.fits", SkyCoord(150, 2, unit="deg"), 20, extension="all")
with fits.open(path) as file:
    names = [hdu.name for hdu in file[1:]]
    original = [hdu.header["O_EXT_NM"] for hdu in file[1:]]
    by_name = file["CUTOUT"].header["O_EXT_NM"]
    try:
        file["ERR"]
        has_err = True
    except KeyError:
        has_err = False
print("astrocut", astrocut.__version__)
print("expected: extensions SCI, ERR and WHT, as in the mosaic")
print("EXTNAME: ", names)
print("O_EXT_NM:", original)
print(f"file['CUTOUT'] is {by_name}; file['ERR'] is", "there" if has_err else "a KeyError")
assert names == ["CUTOUT"] * 3, "extensions have names of their own now"
assert original == ["SCI", "ERR", "WHT"]
assert not has_err
PROGRAM
