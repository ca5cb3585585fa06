#!/usr/bin/env bash
# Files: a COOLEST template of an image that is not square is refused by the package that reads it,
# which takes the first length of the array, the number of rows, for the number of pixels along x.
# coolest 0.1.11; seen by comparison.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet coolest==0.1.11

venv/bin/python -I - <<'PROGRAM'
import os
from importlib.metadata import version

import numpy as np
from astropy.io import fits
from coolest.template.classes.grid import PixelatedRegularGrid

folder = os.getcwd()
fits.writeto("image.fits", np.zeros((30, 40), dtype="f4"))
header = fits.getheader("image.fits")
grid = PixelatedRegularGrid("image.fits", (-2.0, 2.0), (-1.5, 1.5), fits_file_dir=folder)
print("coolest", version("coolest"))
print(f"expected: 40 pixels along x and 30 along y (NAXIS1 {header['NAXIS1']})")
print(f"happens:  {grid.num_pix_x} along x and {grid.num_pix_y} along y, as read from the file")
try:
    PixelatedRegularGrid(
        "image.fits", (-2.0, 2.0), (-1.5, 1.5), num_pix_x=40, num_pix_y=30, fits_file_dir=folder
    )
    refusal = ""
except ValueError as problem:
    refusal = str(problem)
print("with 40 and 30 in the template:", refusal or "read")
assert (grid.num_pix_x, grid.num_pix_y) == (30, 40), "the sides are no longer swapped"
assert "inconsistent" in refusal
PROGRAM
