"""Writes a file of the Roman Data Challenge, as its simulator does.

Layout: the exporter for romanisim of mejiro 3.0 (AstroMusers/mejiro, function `main` of the export
script) and the attributes that its notebook ``view_rung_1_dataset.ipynb`` prints.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

BANDS = ("F106", "F129", "F158")
SEEN_BY_ALL = {"z_source": "4.36", "z_lens": "1.08", "detector": "18",
               "detector_position_x": "3576", "detector_position_y": "3576"}  # fmt: skip
OF_LABELLED_FILES = {"main_halo_mass": "52535197704560.87", "theta_e": "0.92", "sigma_v": "225.9",
                     "mu": "3.07"}  # fmt: skip
OF_AN_EXPOSURE = {"exposure_time": "642", "pixel_scale": "0.11", "fov": "10.01", "units": "DN/s"}


def pixels_of(number, band, size=16):
    """Pixels that tell which lens and which band they are of."""
    random = np.random.default_rng((number, BANDS.index(band)))
    return random.normal(size=(size, size)).astype(np.float32)


def set_attributes(holder, values):
    for name, value in values.items():
        holder.attrs[name] = (value, "what it means")


def write_challenge(
    path: Path,
    count: int = 4,
    *,
    labelled: bool = False,
    missing: dict[int, tuple[str, ...]] | None = None,
    bands=BANDS,
    first: int = 0,
    image_of=pixels_of,
    places: dict[int, tuple[str, str, str]] | None = None,
    of_an_exposure: dict[str, str] | None = None,
) -> Path:
    """Write `count` systems; every second one of a labelled file has substructure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["author"] = ("name@host", "username@host for calculation")
        file.attrs["dataset_version"] = "3.0"
        systems = file.create_group("images")
        for number in range(first, first + count):
            uid = f"{number:08d}"
            system = systems.create_group(f"strong_lens_{uid}")
            set_attributes(system, {"uid": uid, **SEEN_BY_ALL})
            if places and number in places:
                names = ("detector", "detector_position_x", "detector_position_y")
                set_attributes(system, dict(zip(names, places[number], strict=True)))
            if labelled:
                substructure = str(number % 2 == 1)
                set_attributes(system, {**OF_LABELLED_FILES, "substructure": substructure})
            for band in bands:
                if band in (missing or {}).get(number, ()):
                    continue
                image = image_of(number, band)
                exposure = system.create_dataset(f"exposure_{uid}_{band}", data=image)
                set_attributes(exposure, {**OF_AN_EXPOSURE, **(of_an_exposure or {})})
                exposure.attrs["filter"] = (band, "Filter")
    return path


def add_psf(path, values, band="F129", detector=18, x=3576, y=3576, oversample=5):
    """Add an oversampled PSF of a detector at a position."""
    with h5py.File(path, "a") as file:
        group = file.require_group(f"psfs/sca{detector:02d}")
        name = f"psf_{band}_{detector}_{x}_{y}_{oversample}_{len(values) // oversample}"
        dataset = group.create_dataset(name, data=values)
        set_attributes(dataset, {"detector": str(detector), "detector_position_x": str(x),
                                 "detector_position_y": str(y), "fov_pixels": "73",
                                 "oversample": str(oversample)})  # fmt: skip
