#!/usr/bin/env bash
# FITS: integers with BLANK = 0 keep their blank pixels as zeros in astropy, any other BLANK gives NaN.
# astropy 8.0.2; FITS Standard 4.0, section 4.4.2.5 (BLANK may be any integer). In
# astropy/io/fits/hdu/image.py the keyword is asked for by `if self._blank:`, which 0 fails.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet astropy==8.0.2 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import io

import astropy
import numpy as np
from astropy.io import fits


def blank_pixels(blank):
    """What is read in place of four blank pixels."""
    pixels = np.full((4, 4), 100, np.int16)
    pixels[1:3, 1:3] = blank
    file = fits.PrimaryHDU(pixels)
    file.header["BLANK"] = blank
    stream = io.BytesIO()
    file.writeto(stream)
    stream.seek(0)
    return fits.getdata(stream)[1:3, 1:3]


with_minus_one, with_zero = blank_pixels(-1), blank_pixels(0)
print("astropy", astropy.__version__)
print("expected: blank pixels are NaN, whatever BLANK is")
print("BLANK = -1:", with_minus_one.ravel())
print("BLANK = 0: ", with_zero.ravel())
assert np.isnan(with_minus_one).all()
assert (with_zero == 0).all(), "BLANK = 0 is heeded now"
PROGRAM
