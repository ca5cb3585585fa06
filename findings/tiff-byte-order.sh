#!/usr/bin/env bash
# TIFF: Pillow swaps the bytes of compressed big-endian numbers, except 16-bit unsigned ones.
# Pillow 13.0.0 (on a little-endian machine); tifffile 2026.3.3 reads the same files right. libtiff,
# which unpacks them, gives numbers in the order of the machine; Pillow swaps those once more.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6

venv/bin/python -I - <<'PROGRAM'
import sys

import numpy as np
import PIL
import tifffile
from PIL import Image

assert sys.byteorder == "little"
flux = np.array([[10, 11], [12, 13]])
print("Pillow", PIL.__version__, "tifffile", tifffile.__version__)
print("expected: 10, 11, 12, 13 from every file")
for kind in (">f4", ">i4", ">i2", ">u2"):
    read = {}
    for compression in (None, "zlib"):
        tifffile.imwrite("flux.tif", flux.astype(kind), byteorder=">", compression=compression)
        assert (tifffile.imread("flux.tif") == flux).all()
        with Image.open("flux.tif") as picture:
            read[compression] = np.asarray(picture)
        print(f"{kind} compression {compression!s:4} Pillow reads", read[compression].ravel())
    assert (read[None] == flux).all()
    swapped = flux.astype(kind).byteswap()
    wanted = flux if kind == ">u2" else swapped
    assert (read["zlib"] == wanted).all(), "Pillow reads these files otherwise now"
PROGRAM
