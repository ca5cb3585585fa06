"""Speed of the shipped detector beside lenstronomy with scipy's least squares, in one run.

Run with ``python benchmarks/speed.py``; prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import time

import numpy as np
import torch
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from numpy.typing import NDArray
from scipy.optimize import least_squares

from lumpylens.simulation import simulate
from lumpylens.store.folder import load_model

SIDE = 110
"""Central pixels that the other code fits."""


def seconds(function) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def fit_with_lenstronomy(image: NDArray[np.float32]) -> float:
    """Seconds to fit one image from a good start, with noise of one grey level."""
    first = (image.shape[0] - SIDE) // 2
    cut = image[first : first + SIDE, first : first + SIDE].astype(float)
    centre = (SIDE - 1) / 2
    data = ImageData(
        image_data=cut, background_rms=1.0, exposure_time=1.0,
        ra_at_xy_0=-centre, dec_at_xy_0=-centre, transform_pix2angle=np.eye(2),
    )  # fmt: skip
    psf = PSF(psf_type="GAUSSIAN", fwhm=1.4 * 2.355, pixel_size=1.0)
    model = ImageModel(
        data, psf, LensModel(["SIS", "SHEAR"]), LightModel(["SERSIC_ELLIPSE"]),
        LightModel(["SERSIC_ELLIPSE"]),
    )  # fmt: skip

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        lens = [{"theta_E": p[0], "center_x": 0, "center_y": 0},
                {"gamma1": p[1], "gamma2": p[2]}]  # fmt: skip
        light = {"R_sersic": 7.7, "center_x": 0, "center_y": 0, "e1": p[3], "e2": p[4],
                 "n_sersic": 2.26, "amp": p[9]}  # fmt: skip
        source = {"R_sersic": 7.7, "center_x": p[5], "center_y": p[6], "e1": p[7], "e2": p[8],
                  "n_sersic": 1.41, "amp": p[10]}  # fmt: skip
        return (model.image(lens, [source], [light]) + p[11] - cut).ravel()

    start = np.array([20, 0.1, 0, 0.1, 0, 3, 3, 0.05, 0, 27, 18, 0.5], dtype=float)
    return seconds(lambda: least_squares(residual, start, max_nfev=30))


def main() -> None:
    """Time everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=512, help="images to score")
    parser.add_argument("--others", type=int, default=3, help="images for the other code")
    given = parser.parse_args()
    images = simulate("slc", given.n // 2, seed=1) + simulate(
        "slc", given.n - given.n // 2, seed=2, substructure="points"
    )
    detector = load_model("slc-physics").detector
    detector.score(images[:64])
    quick = detector.fast()
    quick.score(images[:64])

    taken = {
        "all scores, images/s": given.n / seconds(lambda: detector.score(images)),
        "encoder alone, images/s": given.n / seconds(lambda: quick.score(images)),
        "lenstronomy and scipy, images/s": given.others
        / sum(fit_with_lenstronomy(images[k].image) for k in range(given.others)),
    }
    print(json.dumps({**{name: round(rate, 3) for name, rate in taken.items()},
                      "images": given.n, "threads": torch.get_num_threads(),
                      "torch": torch.__version__, "machine": platform.machine()}))  # fmt: skip


if __name__ == "__main__":
    main()
