#!/usr/bin/env bash
# PSFs: photutils' oversampled ePSF becomes too wide when it is binned to the pixels of the image.
# photutils 3.0.0, EPSFBuilder: its values are what an image pixel gets, on a finer grid (Anderson and
# King 2000, PASP 112, 1360), so each 3rd is the PSF. They add up to 9 (_normalize_epsf), not 1.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet photutils==3.0.0 astropy==8.0.2 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import warnings

import numpy as np
import photutils
from astropy.nddata import NDData
from astropy.table import Table
from photutils.psf import CircularGaussianPRF, EPSFBuilder, extract_stars

FINER = 3
random = np.random.default_rng(0)
rows, columns = np.mgrid[:200, :200]
places = [
    (20 + 40 * i + random.uniform(-0.5, 0.5), 20 + 40 * j + random.uniform(-0.5, 0.5))
    for i in range(5)
    for j in range(5)
]
field = sum(
    CircularGaussianPRF(flux=1000, x_0=x, y_0=y, fwhm=2.0)(columns, rows) for x, y in places
)
stars = extract_stars(NDData(field), Table(rows=places, names=["x", "y"]), size=25)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    epsf, _ = EPSFBuilder(oversampling=FINER, maxiters=5, progress_bar=False)(stars)

fine = epsf.data
sampled = fine[1::FINER, 1::FINER]
binned = fine.reshape(25, FINER, 25, FINER).sum(axis=(1, 3)) / FINER**2
star = CircularGaussianPRF(flux=1, x_0=12, y_0=12, fwhm=2.0)(*np.mgrid[:25, :25])
print("photutils", photutils.__version__)
print("expected: the ePSF adds up to 1, and its bins of 3x3 are the PSF on the image's pixels")
print(f"sum of the ePSF {fine.sum():.3f}, shape {fine.shape}")
print(f"peak of a star  {star.max():.4f}")
print(f"each 3rd value  {sampled.max():.4f}, sum {sampled.sum():.3f}")
print(f"bins of 3x3     {binned.max():.4f}, sum {binned.sum():.3f}")
assert np.isclose(fine.sum(), FINER**2), "the ePSF is normalised otherwise now"
assert abs(sampled.max() / star.max() - 1) < 0.03, "the ePSF is no longer integrated over pixels"
assert binned.max() / star.max() < 0.93
PROGRAM
