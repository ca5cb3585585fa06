# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One real lens, from the cutout to a map of dark masses
#
# A telescope image of a gravitational lens has a noise map and a point-spread function (PSF). With
# these three, this notebook fits a smooth lens and tests where a dark mass would improve the fit. Then it
# measures which masses can be detected: it adds a mass to the real image and searches for it.
#
# Set `LUMPYLENS_NOTEBOOK_DATA` to a folder with one sub-folder per lens (`image.fits`,
# `noise_map.fits`, `psf.fits`), or to other images with noise map and PSF. Otherwise the notebook simulates a lens as the Hubble
# Space Telescope would see it.
#
# The notebook needs Python 3.11 or later and the package `lumpylens`, no GPU and no download. If the
# package is not installed, the first cell installs it: from the `PACKAGE` that you set, otherwise from a
# wheel (`lumpylens-*.whl`) or a clone in the folder of this notebook, otherwise from the package index. If PyTorch
# is missing, this takes about 2 GB of disk.

# %%
PACKAGE = ""  # a wheel, the folder of a clone, or "git+https://..."; empty: what is found nearby

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path


class NotInstalled(Exception):
    """Stops the notebook with one sentence."""

    def _render_traceback_(self):  # what IPython shows in place of a traceback
        return [str(self)]


def is_installed():
    importlib.invalidate_caches()
    spec = importlib.util.find_spec("lumpylens")
    return spec is not None and spec.origin is not None  # a folder of that name has no origin


def places():
    """Where pip may install from, the best first."""
    given = Path(PACKAGE)
    if PACKAGE:
        yield str(given.resolve()) if given.exists() else PACKAGE
    wheels = sorted(Path().glob("lumpylens-*.whl"), key=os.path.getmtime)
    clones = [
        clone for clone in (Path("lumpylens"), Path("..")) if (clone / "src/lumpylens").is_dir()
    ]
    yield from (str(path.resolve()) for path in wheels[-1:] + clones)
    yield "lumpylens"  # from the package index


def why_not(place):
    """Install from a place, and give the reason if that fails."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-color"]
    done = subprocess.run([*pip, place], capture_output=True, text=True)
    if is_installed():
        return ""
    if place.endswith(".whl") and not Path(place).exists():
        return "there is no such file"
    reasons = re.findall(r"(?:ERROR|fatal): (.+)", done.stderr) or done.stderr.splitlines()
    return reasons[0].rstrip(".") if reasons else "what is there is not lumpylens"


if not is_installed():
    for place in places():
        reason = why_not(place)
        print(f"Cannot install from {place}: {reason}." if reason else f"Installed from {place}.")
        if not reason:
            break
    else:
        raise NotInstalled(
            "lumpylens is not installed: write in the first line of this cell where it is, as "
            "PACKAGE = a wheel file, the folder of a clone, or git+https://..., and run it again."
        )
elif PACKAGE:
    print("lumpylens is installed already, so nothing is installed from PACKAGE.")

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch

import lumpylens
from lumpylens.lenses.analysis import analyse
from lumpylens.lenses.catalogue import row_of
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.inflation import with_p_values
from lumpylens.lenses.injection import inject, radius_of_snr, recover, well_seen_positions
from lumpylens.lenses.pictures import pictures_of
from lumpylens.lenses.quality import remarks
from lumpylens.report.lens_figure import draw_lens_figure
from lumpylens.report.style import LIGHT

DATA = os.environ.get("LUMPYLENS_NOTEBOOK_DATA", "")  # empty: simulate a lens
LENS = "J1627-0053"  # else the first one there is

SCALE = 0.05  # arcsec per pixel of HST/ACS; None if the headers of your files have it
images = (
    lumpylens.LensImages.open(DATA, pixel_scale_arcsec=SCALE)
    if DATA
    else lumpylens.simulate("hst", 1, seed=4)
)
names = list(images.ids)
one = images[names.index(LENS) if LENS in names else 0]
print(f"{one.id}: {one.image.shape[0]}x{one.image.shape[1]} pixels")

# %% [markdown]
# ## Image, noise map and PSF
#
# The lens galaxy is much brighter than the arcs, so the image is drawn on a logarithmic scale. The noise is larger
# in brighter pixels, and very large in pixels that should not be used.

# %%
_, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
usual = np.median(one.noise)
for axis, picture, title in (
    (axes[0], np.log10(np.clip(one.image, usual, None)), "image, logarithmic"),
    (axes[1], np.log10(np.clip(one.noise, None, 20 * usual)), "noise, logarithmic"),
    (axes[2], np.log10(np.clip(one.psf, one.psf.max() / 1e4, None)), "PSF, logarithmic"),
):
    axis.imshow(picture, "magma", origin="lower")
    axis.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## The fit
#
# The mass is a power-law ellipsoid with external shear. Lens light and source are sums of many simple
# shapes; for a given mass, their brightness follows from a linear fit. The fit has several starts and masks
# neighbours. It takes about twenty seconds on one core. `lumpylens fit` does the same for a folder.

# %%
found = analyse(cutout_of(one))
lens = found.smooth.best.lens
print(f"Einstein radius {math.exp(lens['log_einstein_radius']):.3f} arcsec")
print(f"chi2 per pixel  {found.chi2_per_pixel:.2f}")
print(f"doubts          {'; '.join(map(str, remarks(found))) or 'none'}")
print("seconds         " + ", ".join(f"{stage} {t:.0f}" for stage, t in found.seconds.items()))

# %%
figure = draw_lens_figure(LIGHT, pictures_of(found))
figure

# %% [markdown]
# Upper row: the part of the image that is compared, the smooth model, and the residual in units of the
# noise. Lower row: the source without the lens, and two maps for a small dark mass. The
# *perturbation map* shows where a mass would explain the residual. The *sensitivity map* shows how large a mass
# must be to be detected. The circle is the best position of a mass, from an explicit fit.
#
# ## Is there a dark mass?
#
# The gain of the explicit fit is a difference of log evidences. It needs care, because smooth
# models of real lenses are not exact: real residuals scatter more than noise. So the significance is
# divided by an inflation, which was measured on the residuals of this lens and on other lenses. Then it is compared
# with the largest peak that noise alone causes on the same map.

# %%
(row,) = with_p_values([row_of(found, remarks(found), "")])
best = found.perturber
sigma = math.sqrt(2 * max(best.log_evidence, 0))
print(f"Einstein radius of the mass  {best.einstein_radius:.3f} arcsec")
print(f"position                     {best.x:.2f}, {best.y:.2f} arcsec")
print(f"gain in log evidence         {best.log_evidence:.1f}: nominally {sigma:.1f} sigma")
print(f"inflation                    {row.inflation:.2f}")
print(f"p-value                      {row.perturber_p_value:.2f}")

# %% [markdown]
# ## Which masses can be detected
#
# A mass is added at a position where the sensitivity is good: it deflects the fitted source in the real image;
# everything else in the image stays the same. Then all parameters are fitted again.

# %%
(x, y), *_ = well_seen_positions(found, 1, torch.Generator().manual_seed(1))
sigmas = (5, 10, 20, 40)  # nominal
planted = [recover(found, x, y, radius_of_snr(found, x, y, sigma)) for sigma in sigmas]
print("planted   predicted   found     log evidence   off by")
for each in planted:
    print(
        f"{each.einstein_radius:6.3f}''  {each.predicted_snr:6.1f}      "
        f"{each.fitted.einstein_radius:6.3f}''  {each.fitted.log_evidence:9.1f}     "
        f"{each.distance:6.2f}''"
    )

# %%
_, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
changed = inject(found, x, y, planted[-1].einstein_radius).image - one.image
span = float(np.abs(changed).max())
axes[0].imshow(changed, "RdBu_r", vmin=-span, vmax=span, origin="lower")
axes[0].set(title="what the largest of them changes", xticks=[], yticks=[])
axes[1].loglog(
    [each.einstein_radius for each in planted],
    [max(each.fitted.einstein_radius, 1e-3) for each in planted],
    "o",
)
ends = [planted[0].einstein_radius / 1.5, planted[-1].einstein_radius * 1.5]
axes[1].loglog(ends, ends, ":", color="0.5")
axes[1].set(xlabel="planted Einstein radius, arcsec", ylabel="found")
plt.show()

# %% [markdown]
# A mass at the limit cannot be separated from the errors of the smooth model. A larger mass is recovered with the right
# position and mass.
#
# `make slacs` does this for 24 lenses of the SLACS survey. The page *What was
# measured* of the documentation has the results.
