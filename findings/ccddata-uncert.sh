#!/usr/bin/env bash
# FITS: the extension UNCERT of astropy's CCDData holds sigma, variance or inverse variance.
# astropy 8.0.2: CCDData.to_hdu gives all three the same name; which of them it is stands in UTYPE
# (key_uncertainty_type in the reference of astropy.nddata.CCDData).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet astropy==8.0.2 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import astropy
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

pixels, sigma = np.ones((4, 4)), np.full((4, 4), 0.5)
written = {
    "sigma": StdDevUncertainty(sigma),
    "variance": VarianceUncertainty(sigma**2),
    "inverse variance": InverseVariance(sigma**-2),
}
print("astropy", astropy.__version__)
print("expected: the name of the extension says what it holds, or it always holds the same")
stored = []
for kind, uncertainty in written.items():
    CCDData(pixels, unit="adu", uncertainty=uncertainty).write("image.fits", overwrite=True)
    with fits.open("image.fits") as file:
        names = [hdu.name for hdu in file]
        value, said = float(file[1].data[0, 0]), file[1].header["UTYPE"]
    print(f"{kind:17}", names, f"value {value}, UTYPE = {said}")
    assert names == ["PRIMARY", "UNCERT"], "the name says more now"
    stored.append(value)
assert stored == [0.5, 0.25, 4.0]
PROGRAM
