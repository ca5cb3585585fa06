"""Images per second of one core: lumpylens, lenstronomy and caustics in one run.

Run with ``python benchmarks/simulate.py``; prints one JSON object. Isothermal ellipsoid and shear,
lens galaxy and source of Sersic profiles, Gaussian point-spread function, Gaussian noise, and 25
point masses or truncated NFW haloes. Times are those of the processor with one thread, numbers
drawn anew for every image; ``--workers 1,2,4`` adds wall-clock rates of that many processes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lumpylens.simulation import POPULATIONS, Population, Substructure, simulate
from lumpylens.simulation.lens import Lens, add_substructure, draw_lens
from lumpylens.simulation.perturbers import masses_of

HALOES = Substructure(profile="halo", count=25, mass_fraction=0.02)
KINDS = {"smooth": None, "25 points": Substructure(), "25 haloes": HALOES}


def preset(size: int) -> Population:
    """Lenses with everything, linear brightness and Gaussian noise."""
    return replace(
        POPULATIONS["wide"], name=f"wide-{size}", size_px=size, photons=None,
        einstein_radius_px=20.0 * size / 150, lens_redshift=0.5, source_redshift=1.0,
    )  # fmt: skip


def rate(make: Callable[[int], None], count: int) -> float:
    """Images per second of the processor: the best of three runs, once everything is warm."""
    make(2)
    taken = []
    for _ in range(3):
        start = time.process_time()
        make(count)
        taken.append(time.process_time() - start)
    return count / min(taken)


def lenses(size: int, kind: Substructure | None, count: int) -> list[Lens]:
    """True numbers, drawn as lumpylens draws them."""
    random = np.random.default_rng(0)
    drawn = [draw_lens(preset(size), random) for _ in range(count)]
    return drawn if kind is None else [add_substructure(one, kind, random) for one in drawn]


def by_lenstronomy(size: int, kind: Substructure | None) -> Callable[[int], None]:
    """The same images by lenstronomy, in double precision as it does it."""
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel
    from lenstronomy.Util.param_util import phi_q2_ellipticity

    centre = (size - 1) / 2
    data = ImageData(
        image_data=np.zeros((size, size)), background_rms=1.0, exposure_time=1.0,
        ra_at_xy_0=-centre, dec_at_xy_0=-centre, transform_pix2angle=np.eye(2),
    )  # fmt: skip
    psf = PSF(psf_type="GAUSSIAN", fwhm=1.4 * 2.3548, pixel_size=1.0)
    name = {"point": "POINT_MASS", "halo": "TNFW"}.get(kind.profile if kind else "", "")
    mass = LensModel(["SIE", "SHEAR"] + [name] * (25 if kind else 0))
    light = LightModel(["SERSIC_ELLIPSE"])
    model = ImageModel(data, psf, mass, light, light)
    random = np.random.default_rng(1)

    def ellipse(angle_deg: float, ratio: float) -> dict[str, float]:
        e1, e2 = phi_q2_ellipticity(math.radians(angle_deg), ratio)
        return {"e1": e1, "e2": e2}

    def make(count: int) -> None:
        for one in lenses(size, kind, count):
            angle = 2 * math.radians(one.shear_angle_deg)
            arguments = [
                {"theta_E": one.halo_einstein_radius_px, "center_x": 0, "center_y": 0,
                 **ellipse(one.mass_angle_deg, one.mass_axis_ratio)},
                {"gamma1": one.shear * math.cos(angle), "gamma2": one.shear * math.sin(angle)},
            ]  # fmt: skip
            for lump in one.perturbers:
                place = {"center_x": lump.x_px, "center_y": lump.y_px}
                if lump.profile == "point":
                    arguments.append({"theta_E": lump.einstein_radius_px, **place})
                else:
                    scale = lump.scale_radius_px
                    arguments.append({"Rs": scale, "alpha_Rs": 0.1, "r_trunc":
                                      lump.truncation * scale, **place})  # fmt: skip
            source = {
                "amp": one.source_brightness, "R_sersic": one.source_radius_px,
                "n_sersic": one.source_index, "center_x": one.source_x_px,
                "center_y": one.source_y_px,
                **ellipse(one.source_angle_deg, one.source_axis_ratio),
            }  # fmt: skip
            galaxy = {
                "amp": one.lens_light_brightness, "R_sersic": one.lens_light_radius_px,
                "n_sersic": one.lens_light_index, "center_x": 0, "center_y": 0,
                **ellipse(one.lens_light_angle_deg, one.lens_light_axis_ratio),
            }  # fmt: skip
            image = model.image(arguments, [source], [galaxy])
            image += one.noise * random.standard_normal(image.shape)

    return make


def by_caustics(size: int, kind: Substructure | None) -> Callable[[int], None]:
    """The same images by caustics' functions in single precision, all masses of a lens at once."""
    import caustics.func as func

    from lumpylens.physics.psf import gaussian_matrix

    at = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    blur = gaussian_matrix(size, torch.tensor([1.4]), 9)[0]
    zero = torch.tensor(0.0)

    def number(value: float) -> torch.Tensor:
        return torch.tensor(value, dtype=torch.float32)

    def sersic(x: torch.Tensor, y: torch.Tensor, one: Lens, which: str) -> torch.Tensor:
        place = (one.source_x_px, one.source_y_px) if which == "source" else (0.0, 0.0)
        return func.brightness_sersic(
            *map(number, place), number(getattr(one, f"{which}_axis_ratio")),
            number(math.radians(getattr(one, f"{which}_angle_deg"))),
            number(getattr(one, f"{which}_index")), number(getattr(one, f"{which}_radius_px")),
            number(getattr(one, f"{which}_brightness")), x, y,
            func.k_sersic(number(getattr(one, f"{which}_index"))),
        )  # fmt: skip

    def lumps(one: Lens) -> tuple[torch.Tensor, torch.Tensor]:
        masses = masses_of(one.perturbers)
        rows = masses.points[0] if masses.points.size else masses.haloes[0]
        columns = torch.from_numpy(rows)[:, :, None, None].unbind(1)
        if masses.points.size:
            ax, ay = func.reduced_deflection_angle_point(*columns[:3], x, y)
            return ax.sum(0), ay.sum(0)
        dx, dy = x - columns[0], y - columns[1]
        radius = torch.sqrt(dx.square() + dy.square() + 1e-8)
        scale, truncation = columns[3], columns[4]
        mass = func.mass_enclosed_2d_tnfw(radius, scale, truncation, number(1.0))
        weight = columns[2].square() * mass / radius.square()
        return (dx * weight).sum(0), (dy * weight).sum(0)

    @torch.no_grad()
    def make(count: int) -> None:
        for one in lenses(size, kind, count):
            angle = 2 * math.radians(one.shear_angle_deg)
            ax, ay = func.reduced_deflection_angle_sie(
                zero, zero, number(min(one.mass_axis_ratio, 0.9999)),
                number(math.radians(one.mass_angle_deg)), number(one.halo_einstein_radius_px), x, y,
            )  # fmt: skip
            gx, gy = func.reduced_deflection_angle_external_shear(
                zero, zero, number(one.shear * math.cos(angle)),
                number(one.shear * math.sin(angle)), x, y,
            )  # fmt: skip
            u, v = x - ax - gx, y - ay - gy
            if one.perturbers:
                dx, dy = lumps(one)
                u, v = u - dx, v - dy
            image = sersic(u, v, one, "source") + sersic(x, y, one, "lens_light")
            image = blur @ image @ blur.T
            image = image + one.noise * torch.randn(size, size)

    return make


def by_lumpylens(size: int, kind: Substructure | None) -> Callable[[int], None]:
    """The public function."""
    return lambda count: simulate(preset(size), count, substructure=kind) and None


def wall(size: int, workers: int, count: int) -> float:
    """Images per second of wall-clock time to a file, start of the processes left out."""

    def seconds(number: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            simulate(preset(size), number, substructure=KINDS["25 points"], workers=workers,
                     out=Path(folder) / "lenses.h5")  # fmt: skip
            return time.perf_counter() - start

    few, many = seconds(100 * workers), seconds(100 * workers + count)
    return count / (many - few)


def main() -> None:
    """Time everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="images per measurement of lumpylens")
    parser.add_argument("--others", type=int, default=10, help="of the other codes")
    parser.add_argument("--workers", default="", help="numbers of processes, with commas")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    for size in (150, 64):
        for name, kind in KINDS.items():
            row = {"lumpylens": rate(by_lumpylens(size, kind), given.n)}
            for code, others in (("lenstronomy", by_lenstronomy), ("caustics", by_caustics)):
                row[code] = rate(others(size, kind), given.others)
            found[f"{size}x{size}, {name}"] = {code: round(value, 1) for code, value in row.items()}
    slc = rate(lambda n: simulate("slc", n, substructure="points") and None, given.n)
    found["150x150, slc with JPEG, 25 points"] = {"lumpylens": round(slc, 1)}
    scaling = {
        workers: round(wall(64, int(workers), 1000), 1)
        for workers in given.workers.split(",")
        if workers
    }
    print(json.dumps({
        "images_per_core_second": found, "images_per_second_of_processes": scaling,
        "load": os.getloadavg()[0], "cores": os.cpu_count(), "machine": platform.machine(),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
