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
# # The Strong Lensing Challenge with lumpylens
#
# A galaxy deflects the light of a more distant galaxy behind it, which appears as arcs. Most models of dark
# matter predict lumps in the mass of the nearer galaxy; lumps change the arcs a little. The
# challenge is to learn from images of *smooth* lenses alone, and to find the lumpy lenses.
#
# This notebook runs from top to bottom on Colab (half an hour, no GPU needed) and anywhere else.
# On your own machine set `LUMPYLENS_NOTEBOOK_DATA` to a folder that contains `no_sub` and `sub`. Otherwise
# the notebook downloads the challenge's images.
#
# It needs Python 3.11 or later and the package `lumpylens`. If the package is not installed, the first
# cell installs it: from the `PACKAGE` that you set, otherwise from a wheel (`lumpylens-*.whl`) or a clone
# in the folder of this notebook, otherwise from the package index. If PyTorch is missing, this takes about 2 GB of disk.

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
import json
import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

import lumpylens

DATA = os.environ.get("LUMPYLENS_NOTEBOOK_DATA", "")  # empty: fetch the challenge's images
LUMPY = 1500  # of the 4,500 lumpy lenses, to save time
SEED = 0

folder = Path(DATA) if DATA else lumpylens.fetch("slc", progress=False)
smooth = lumpylens.LensImages.open(folder / "no_sub")
lumpy = lumpylens.LensImages.open(folder / "sub")[:LUMPY]
print(f"{len(smooth)} smooth and {len(lumpy)} lumpy lenses of {smooth[0].image.shape} pixels")

# %% [markdown]
# ## The images
#
# Upper row: smooth lenses. Lower row: lenses with substructure. Can you see the difference?


# %%
def show(rows, titles=(), labels=(), size=1.9, **how):
    """Draw rows of images."""
    _, axes = plt.subplots(
        len(rows),
        len(rows[0]),
        squeeze=False,
        layout="constrained",
        figsize=(size * len(rows[0]), size * len(rows)),
    )
    for row, images in zip(axes, rows):
        for one, image in zip(row, images):
            one.imshow(image, "magma", origin="lower", **how)
            one.set(xticks=[], yticks=[])
    for one, title in zip(axes[0], titles):
        one.set_title(title, fontsize=9)
    for one, label in zip(axes[:, 0], labels):
        one.set_ylabel(label, fontsize=9)
    plt.show()


some = np.random.default_rng(SEED).permutation(min(len(smooth), len(lumpy)))[:6]
show(
    [[smooth[int(k)].image for k in some], [lumpy[int(k)].image for k in some]],
    labels=("smooth", "lumpy"),
)

# %% [markdown]
# ## A smooth lens is a dozen numbers
#
# A ray that we see at the angle $\theta$ comes from the position
#
# $$\beta = \theta - \theta_E\,\frac{\theta}{|\theta|} - \Gamma\,\theta$$
#
# if the lens is a round galaxy with the Einstein radius $\theta_E$, and its surroundings cause the shear $\Gamma$. So
# a few numbers define the whole image: $\theta_E$, the shear, the position of the source, and the sizes and
# ellipticities of source and lens galaxy.

# %%
from lumpylens.physics.parameters import pack
from lumpylens.physics.render import Scene


def lens(galaxy=0.0, **numbers):
    """Draw a smooth lens of Einstein radius 20 pixels, if nothing else is said."""
    numbers = {"log_einstein_radius_px": math.log(20.0), "log_source_radius_px": 2.0, **numbers}
    light = Scene(150, 150).light(
        pack(**numbers, log_lens_light_radius_px=2.0, log_lens_light_index=0.0)
    )
    image = (light.source / light.source.max() + galaxy * light.lens / light.lens.max())[0]
    return image.clamp(max=1).numpy()[20:130, 20:130]


show(
    [[
        lens(),
        lens(source_x=0.4),
        lens(source_x=0.4, shear_1=0.15),
        lens(source_x=0.4, shear_1=0.15, log_einstein_radius_px=math.log(26.0)),
        lens(source_x=0.4, shear_1=0.15, galaxy=1.0),
    ]],
    titles=("source behind the lens", "source beside it", "sheared", "a heavier lens",
            "and its own light"),
)  # fmt: skip

# %% [markdown]
# An autoencoder has to *learn* all of this from pixels. It needs hundreds of numbers for this, and with
# hundreds of numbers it also learns to copy anomalies. The detector `physics` is an
# autoencoder whose decoder is the lens equation. An image that a dozen numbers cannot describe is not a smooth lens.
#
# ## Training
#
# The detector learns from smooth images alone. The content of each image decides its use: 70 % are for
# training, and 10 % each for validation, calibration and tests. No label is used; images in a folder called
# `sub` would be refused.

# %%
small = len(smooth) < 1000  # a few images: learn the instrument from fewer, the encoder as it is
model = lumpylens.train(
    smooth, "physics", out="slc-model", seed=SEED,
    settings={"sample": 40, "near_epochs": 0} if small else {}, progress=False,
)  # fmt: skip
print(model.card[: model.card.index("## How it was made")])
print(f"trained in {model.info['seconds'] / 60:.1f} minutes")

# %% [markdown]
# ## Residuals
#
# A smooth and a lumpy lens that the model has never seen, the best smooth model of each, and the residual,
# in grey levels of 255.

# %%
from lumpylens.data.splits import split

fresh = split(smooth).test
pair = fresh[:1] + lumpy[:1]
made = model.detector.reconstruct(pair)
fig, axes = plt.subplots(2, 3, figsize=(7.2, 4.8), layout="constrained")
for row, item, smooth_model, name in zip(axes, pair, made, ("smooth", "lumpy")):
    scale = {"vmin": item.image.min(), "vmax": item.image.max(), "origin": "lower"}
    row[0].imshow(item.image, "magma", **scale)
    row[1].imshow(smooth_model, "magma", **scale)
    left = row[2].imshow(item.image - smooth_model, "RdBu_r", vmin=-8, vmax=8, origin="lower")
    row[0].set_ylabel(name)
    for one in row:
        one.set(xticks=[], yticks=[], xlim=(30, 120), ylim=(30, 120))
for one, title in zip(axes[0], ("image", "smooth lens", "what is left")):
    one.set_title(title, fontsize=10)
fig.colorbar(left, ax=axes[:, 2])
plt.show()

# %% [markdown]
# The explanation of the lumpy lens shows where a small mass would improve the fit, how small a mass would have been
# detected there, and how unusual each parameter of the lens is.

# %%
lumpylens.explain(model, pair[1:], progress=False)

# %% [markdown]
# ## Evaluation
#
# Only this step reads labels. The main result uses images that the model never saw: the
# test part of the smooth lenses, and all lumpy lenses.

# %%
result = lumpylens.evaluate(
    model, normal=smooth, anomalous=lumpy, out="results", seed=SEED, progress=False
)
result

# %% [markdown]
# ### Distribution of the reconstruction loss
#
# The mean squared error per pixel between image and reconstruction, of images scaled to [0, 1].

# %%
parts = {"training": "train", "validation": "validation", "test (never seen)": "test"}
colours = {"normal": "tab:blue", "anomalous": "tab:red"}
every = 1e6 * np.concatenate([t.components["reconstruction_mse"] for t in result.tables.values()])
bins = np.geomspace(np.nanmin(every), np.nanmax(every), 60)
fig, axes = plt.subplots(1, len(parts), figsize=(11, 3), sharey=True, layout="constrained")
for one, (title, part) in zip(axes, parts.items()):
    for name, table in result.rows(part).items():
        loss = 1e6 * table.components["reconstruction_mse"]
        one.hist(loss, bins, weights=np.full(len(loss), 1 / len(loss)), histtype="stepfilled",
                 alpha=0.5, color=colours[name], label=f"{name} ({len(loss)})")  # fmt: skip
    one.set(xscale="log", xlabel="reconstruction loss, millionths", title=title)
    one.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    one.xaxis.set_major_formatter("{x:g}")
    one.xaxis.set_minor_formatter(NullFormatter())
    one.legend(fontsize=8)
axes[0].set_ylabel("fraction of the class")
plt.show()

# %% [markdown]
# ### ROC curve and AUC, for training and validation data
#
# The curves are for the score of the detector, and for the reconstruction loss alone. *Training* means: smooth images that
# the model learned from, against the lumpy images of the same part.

# %%
from sklearn.metrics import roc_curve

fig, axes = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
columns = {
    "anomaly score": lambda table: table.anomaly_score,
    "reconstruction loss": lambda table: table.components["reconstruction_mse"],
}
for one, (what, column) in zip(axes, columns.items()):
    for title, part in parts.items():
        rows = result.rows(part)
        scores = [column(rows[name]) for name in colours]
        truth = np.repeat([0, 1], [len(s) for s in scores])
        fpr, tpr, _ = roc_curve(truth, np.concatenate(scores))
        one.plot(fpr, tpr, label=f"{title}: AUC {np.trapezoid(tpr, fpr):.4f}")
    one.plot([0, 1], [0, 1], ":", color="0.6")
    one.set(xlabel="false-positive rate", ylabel="true-positive rate", title=what)
    one.legend(fontsize=8, loc="lower right")
plt.show()

# %%
print(f"{'part':<20}{'normal':>8}{'anomalous':>11}{'AUC':>9}   95 % interval")
for title, part in parts.items():
    m = result.metrics["splits"][part]
    print(f"{title:<20}{m['n_normal']:>8}{m['n_anomalous']:>11}{m['auc']:>9.4f}   "
          f"{m['auc_low']:.4f} to {m['auc_high']:.4f}")  # fmt: skip

# %% [markdown]
# ## Why you should not believe this number yet
#
# Substructure was *added* to the challenge's lenses. So lumpy lenses are heavier, and their Einstein
# radius alone identifies them. The encoder, which was trained on smooth lenses alone, estimates it from each
# image:

# %%
radius = {}
for name, images in {"smooth": fresh, "lumpy": lumpy[: len(fresh)]}.items():
    numbers = model.detector.fast().read(images.stack().pixels)
    radius[name] = np.exp(numbers[:, 0].numpy())
fig, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for (name, values), colour in zip(radius.items(), colours.values()):
    axes.hist(values, np.linspace(18, 24, 61), alpha=0.5, color=colour, label=name)
axes.set(xlabel="Einstein radius, pixels", ylabel="images")
axes.legend()
plt.show()

# %% [markdown]
# The masses of real lenses vary much more than this, so a detector that relies on the Einstein radius
# would be useless for them. Therefore each evaluation has an audit. `free_mass` is the score
# without the Einstein radius. `perturbation` searches for small deflections after all
# parameters of the smooth lens were fitted to the image, so mass alone does not change it. Below the line are
# simple statistics without lensing: if one of them were high, the two classes would have
# been processed differently.

# %%
audit = result.metrics["audit"]
bars = {"anomaly_score": result.metrics, **audit["components"], **audit["trivial"]}
fig, axes = plt.subplots(figsize=(7, 0.3 * len(bars) + 0.8), layout="constrained")
looks = ["tab:red"] + ["tab:orange"] * len(audit["components"]) + ["0.6"] * len(audit["trivial"])
areas = [max(found["auc"], 1 - found["auc"]) for found in bars.values()]
axes.barh(range(len(bars)), np.array(areas) - 0.5, left=0.5, color=looks)
for k, area in enumerate(areas):
    axes.text(area + 0.005, k, f"{area:.4f}", va="center", fontsize=8)
axes.axhline(0.5 + len(audit["components"]), color="0.3", lw=0.8)
axes.set_yticks(range(len(bars)), bars)
axes.set(xlim=(0.5, 1.07), xlabel="AUC (below 0.5 mirrored)")
axes.invert_yaxis()
plt.show()

# %% [markdown]
# Are the p-values right? Of the smooth lenses that the model never saw, a fraction of $\alpha$ should
# have a p-value of at most $\alpha$:

# %%
for rate, found in result.metrics["thresholds"].items():
    if "refused" in found:
        print(f"{rate:>5}: {found['refused']}")
    else:
        low, high = found["fpr_expected"]
        print(f"{rate:>5}: {found['fpr']:.3f} of {found['n_normal']} smooth lenses pass "
              f"(expected {low:.3f} to {high:.3f}), and {found['tpr']:.3f} of the lumpy ones")  # fmt: skip

# %% [markdown]
# ## The trained model, saved and reloaded
#
# `train` wrote the folder `slc-model` with weights and arrays, settings, and a card that describes the
# model. Nothing in it is pickled. The model can also be exported to one file. Both give the same scores, bit for bit.

# %%
file = lumpylens.export(model, out="slc-model.safetensors")
again = [lumpylens.load_model(place).detector for place in ("slc-model", file)]
scores = [detector.anomaly_score(pair) for detector in (model.detector, *again)]
assert all((scores[0] == other).all() for other in scores[1:])
print(sorted(path.name for path in Path("slc-model").iterdir()))
print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## Scoring a new folder
#
# A new folder gets twelve smooth and eight lumpy images without labels. A
# hidden test set is scored in the same way. The command is `lumpylens score slc-model new-images --out scores.csv`.

# %%
unlabelled = np.concatenate([fresh[-12:].stack().pixels, lumpy[-8:].stack().pixels])
names = [f"lens-{k:02d}" for k in np.random.default_rng(SEED).permutation(len(unlabelled))]
Path("new-images").mkdir(exist_ok=True)
np.savez("new-images/lenses.npz", images=unlabelled, ids=names)

table = lumpylens.score("slc-model", "new-images", out="scores.csv", progress=False)
table

# %%
lumpy_ids = set(table.id[-8:])  # the table keeps the order of the images
print(f"{len(lumpy_ids & set(table.top(8).id))} of the 8 highest are lumpy")
print(json.dumps({"AUC of test images": round(result.auc, 4),
                  "AUC, total mass free": round(audit["free_mass"]["auc"], 4)}))  # fmt: skip

# %% [markdown]
# The whole report, with the highest and lowest ranked images, is in `results/report.html`.
