"""Mock lenses with known parameters, like those of the Hubble camera, made with lenstronomy.

Nothing of the code that fits lenses is used. The scene is computed on pixels five times finer,
convolved with a PSF on these, and averaged over each pixel; the PSF that goes with the image is
the one that pixels see, as for a telescope. The noise map is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from lumpylens import LensImages, fit
from lumpylens.data.image import LensImage
from lumpylens.data.source import CutoutSource
from lumpylens.lenses.catalogue import LensRow

__all__ = ["PRIOR", "STARS_PRIOR", "MockLens", "Planted", "draw_lens", "fit_mocks"]

PRIOR = (
    "Einstein radius 0.8 to 1.6 arcsec, slope 1.8 to 2.3, axis ratio 0.5 to 1, shear to 0.15, "
    "third and fourth multipoles to 1 % each, all uniform, along random directions; the mass "
    "centre within 0.01 arcsec (one standard deviation per axis) of the light's; the light along "
    "the mass, its "
    "ellipticity scattered by 0.1; a Sersic source with up to five clumps, within 0.15 Einstein "
    "radii of the centre; peak signal-to-noise ratios of the arcs from 10 to 30"
)
"""What mocks are drawn from, in words."""

STARS_PRIOR = (
    "stars that follow the light with 0.4 to 0.7 of the mass within the Einstein radius; an NFW "
    "halo with a scale radius of 10 to 30 arcsec and a potential with an axis ratio of 0.8 to 1, "
    "turned against the light by up to 60 degrees"
)
"""What stands for the power law and its multipoles in mocks with stars and a halo, in words."""

PIXEL_SCALE_ARCSEC, SIDE, FINE = 0.05, 121, 5
"""Size of the pixels, their number along a side, and finer pixels within each along a side."""

PSF_WIDTHS, PSF_PARTS = (0.035, 0.09), (0.85, 0.15)
"""Standard deviations of the two Gaussians of the PSF, arcsec, and their parts of its light."""

PSF_SIDE = 21
"""Pixels of the PSF along a side."""


@dataclass(frozen=True)
class MockLens:
    """A mock lens and its truth.

    Attributes
    ----------
    image : LensImage
        With noise map and PSF.
    truth : dict of str to float
        By the names of the parameters of `lumpylens.lenses.model`; places in arcsec from the
        middle of the image, perturbers from the centre of the lens galaxy's light.
    """

    image: LensImage
    truth: dict[str, float]


@dataclass(frozen=True)
class Galaxy:
    """A Sersic galaxy."""

    amplitude: float
    radius: float
    index: float
    eta: tuple[float, float]
    centre: tuple[float, float]

    def keywords(self) -> dict[str, float]:
        """What lenstronomy calls its numbers."""
        e1, e2 = components(self.eta)
        return {
            "amp": self.amplitude, "R_sersic": self.radius, "n_sersic": self.index, "e1": e1,
            "e2": e2, "center_x": self.centre[0], "center_y": self.centre[1],
        }  # fmt: skip


def components(eta: tuple[float, float]) -> tuple[float, float]:
    """``(1 - q) / (1 + q) (cos 2 phi, sin 2 phi)`` of ``-ln(q) (cos 2 phi, sin 2 phi)``."""
    size = math.hypot(*eta)
    factor = math.tanh(size / 2) / size if size > 0 else 0.5
    return factor * eta[0], factor * eta[1]


@dataclass(frozen=True)
class Planted:
    """What is added to a mock near its arcs.

    Attributes
    ----------
    names : tuple of str
    keywords : tuple of dict
        Of masses, for lenstronomy's ``LensModel``, without their place.
    brightness : float
        Of a small round galaxy at the same place, as a part of the brightest pixel of the arcs;
        0 for none.
    """

    names: tuple[str, ...] = ()
    keywords: tuple[dict[str, float], ...] = ()
    brightness: float = 0.0


def draw_lens(
    number: int,
    seed: int,
    *,
    perturbed: bool = False,
    planted: Planted | None = None,
    stars: bool = False,
) -> MockLens:
    """Make the mock of a number; it does not depend on the others.

    Parameters
    ----------
    number, seed : int
    perturbed : bool
        Plant a point mass near the arcs, with an Einstein radius of 0.1 to 0.25 arcsec. The rest
        of the lens is as without it.
    planted : Planted, optional
        Plant this at the same place instead.
    stars : bool
        The mass is stars that follow the light, and a dark halo, instead of a power law.
    """
    random = np.random.default_rng([seed, number])
    truth = mass_truth(random)
    light_eta = tuple(truth[f"eta_{k}"] + 0.1 * random.normal() for k in (1, 2))
    radius = math.exp(truth["log_einstein_radius"])
    galaxy = Galaxy(1.0, random.uniform(0.5, 1.2), random.uniform(2.5, 5.0), light_eta, (0.0, 0.0))
    source, clumps = source_galaxy(random, radius)
    snr, sky_counts = random.uniform(10.0, 30.0), random.uniform(0.2, 1.0)
    brightness = random.uniform(0.3, 3.0)
    turn, away = random.uniform(0, 2 * math.pi), radius * random.uniform(0.85, 1.15)
    if perturbed:
        truth |= {
            "perturber_x": away * math.cos(turn), "perturber_y": away * math.sin(turn),
            "perturber_einstein_radius": random.uniform(0.1, 0.25),
        }  # fmt: skip
    if planted is not None:
        truth |= {"perturber_x": away * math.cos(turn), "perturber_y": away * math.sin(turn)}
    if stars:
        truth |= stars_truth(np.random.default_rng([seed, number, 1]), light_eta)
    lens_light, arcs = clean_images(truth, galaxy, source, clumps, planted)
    # Relative to the arcs, so that all ratios of lens light to source light occur.
    lens_light *= brightness * arcs.max() / lens_light[radius_map() > 0.5 * radius].max()
    unit = arcs.max() / snr
    clean = (lens_light + arcs) / unit
    if planted is not None and planted.brightness:
        place = (truth["perturber_x"], truth["perturber_y"])
        small = Galaxy(1.0, 0.1, 1.5, (0.0, 0.0), place)
        light = camera_image(surface_brightness(small))
        clean += light * planted.brightness * snr / light.max()
    # The noise of the sky, and of photons: that of the brightest arc is `snr` times below it.
    share = sky_counts
    sigma = np.sqrt(share + (1 - share) * clean / snr)
    image = clean + sigma * random.normal(size=clean.shape)
    return MockLens(
        LensImage(
            id=f"mock-{number:03d}{'-perturbed' if perturbed else ''}",
            image=image.astype(np.float32),
            noise=sigma.astype(np.float32),
            psf=pixel_psf().astype(np.float32),
            pixel_scale_arcsec=PIXEL_SCALE_ARCSEC,
        ),
        truth,
    )


def fit_mocks(
    mocks: Sequence[MockLens], place: Path, workers: int, redshifts: Path | None = None
) -> list[LensRow]:
    """Fit mocks with the defaults; rows that are in the table `place` already are taken from it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    images = LensImages.from_source(CutoutSource([mock.image for mock in mocks]))
    return list(fit(images, out=place, redshifts=redshifts, workers=workers))


def mass_truth(random: np.random.Generator) -> dict[str, float]:
    """Draw the parameters of the mass."""

    def directed(size: float, order: int) -> tuple[float, float]:
        turn = random.uniform(0, 2 * math.pi / order) * order
        return size * math.cos(turn), size * math.sin(turn)

    eta = directed(-math.log(random.uniform(0.5, 1.0)), 2)
    shear = directed(random.uniform(0.0, 0.15), 2)
    third, fourth = (directed(random.uniform(0.0, 0.01), m) for m in (3, 4))
    return {
        "log_einstein_radius": math.log(random.uniform(0.8, 1.6)),
        "eta_1": eta[0], "eta_2": eta[1],
        "slope": random.uniform(1.8, 2.3),
        "centre_x": 0.01 * random.normal(), "centre_y": 0.01 * random.normal(),
        "shear_1": shear[0], "shear_2": shear[1],
        "m3_cosine": third[0], "m3_sine": third[1], "m4_cosine": fourth[0], "m4_sine": fourth[1],
    }  # fmt: skip


def stars_truth(random: np.random.Generator, light_eta: tuple[float, ...]) -> dict[str, float]:
    """Draw the parameters of stars and halo."""
    turn = math.atan2(light_eta[1], light_eta[0]) + 2 * math.radians(random.uniform(-60, 60))
    size = -math.log(random.uniform(0.8, 1.0))
    return {
        "stellar_fraction": random.uniform(0.4, 0.7),
        "scale_radius": random.uniform(10.0, 30.0),
        "halo_eta_1": size * math.cos(turn), "halo_eta_2": size * math.sin(turn),
    }  # fmt: skip


def stars_and_halo(
    truth: dict[str, float], galaxy: Galaxy
) -> tuple[list[str], list[dict[str, Any]]]:
    """Names and keywords of the stars, the halo and the shear for lenstronomy's ``LensModel``."""
    from lenstronomy.LensModel.Profiles.gauss_decomposition import SersicEllipseGaussDec
    from lenstronomy.LensModel.Profiles.nfw import NFW

    radius, at = math.exp(truth["log_einstein_radius"]), {"center_x": 0.0, "center_y": 0.0}
    where = np.array([radius]), np.zeros(1)
    stars = {"R_sersic": galaxy.radius, "n_sersic": galaxy.index}
    round_stars = SersicEllipseGaussDec().derivatives(*where, **stars, k_eff=1.0, e1=1e-4, e2=0.0)
    round_halo = NFW().derivatives(*where, Rs=truth["scale_radius"], alpha_Rs=1.0)
    e1, e2 = components(galaxy.eta)
    halo_1, halo_2 = components((truth["halo_eta_1"], truth["halo_eta_2"]))
    fraction = truth["stellar_fraction"]
    return ["SERSIC_ELLIPSE_GAUSS_DEC", "NFW_ELLIPSE_POTENTIAL", "SHEAR"], [
        {"k_eff": fraction * radius / float(round_stars[0][0]), "e1": e1, "e2": e2, **stars, **at},
        {
            "alpha_Rs": (1 - fraction) * radius / float(round_halo[0][0]),
            "Rs": truth["scale_radius"], "e1": halo_1, "e2": halo_2, **at,
        },
        {"gamma1": truth["shear_1"], "gamma2": truth["shear_2"]},
    ]  # fmt: skip


def source_galaxy(random: np.random.Generator, radius: float) -> tuple[Galaxy, list[Galaxy]]:
    """Draw a source: a galaxy and clumps of star formation on it."""
    turn, away = random.uniform(0, 2 * math.pi), 0.15 * radius * math.sqrt(random.uniform())
    centre = (away * math.cos(turn), away * math.sin(turn))
    size = random.uniform(0.08, 0.25)
    eta = tuple(0.3 * random.normal(size=2))
    galaxy = Galaxy(1.0, size, random.uniform(0.8, 2.5), eta, centre)
    clumps = [
        Galaxy(
            random.uniform(0.3, 2.0), random.uniform(0.02, 0.05), 0.5, (0.0, 0.0),
            (centre[0] + 0.8 * size * random.normal(), centre[1] + 0.8 * size * random.normal()),
        )
        for _ in range(random.integers(0, 6))
    ]  # fmt: skip
    return galaxy, clumps


def clean_images(
    truth: dict[str, float],
    galaxy: Galaxy,
    source: Galaxy,
    clumps: list[Galaxy],
    planted: Planted | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Images of the lens galaxy and of the arcs, without noise, shape (SIDE, SIDE)."""
    from lenstronomy.LensModel.lens_model import LensModel
    from lenstronomy.LightModel.light_model import LightModel

    x, y = fine_grid()
    of_stars = "stellar_fraction" in truth
    names, keywords = stars_and_halo(truth, galaxy) if of_stars else lenstronomy_mass(truth)
    if planted is not None:
        at = {"center_x": truth["perturber_x"], "center_y": truth["perturber_y"]}
        names += planted.names
        keywords += [mass | at for mass in planted.keywords]
    bx, by = LensModel(names).ray_shooting(x, y, keywords)
    behind = [source, *clumps]
    light = LightModel(["SERSIC_ELLIPSE"] * len(behind))
    arcs = light.surface_brightness(bx, by, [part.keywords() for part in behind])
    return camera_image(surface_brightness(galaxy)), camera_image(arcs)


def surface_brightness(galaxy: Galaxy) -> NDArray[np.float64]:
    """Light of a galaxy in the lens plane on the finer pixels, raveled."""
    from lenstronomy.LightModel.light_model import LightModel

    light = LightModel(["SERSIC_ELLIPSE"])
    seen: NDArray[np.float64] = light.surface_brightness(*fine_grid(), [galaxy.keywords()])
    return seen


def lenstronomy_mass(truth: dict[str, float]) -> tuple[list[str], list[dict[str, Any]]]:
    """Names and keywords of the mass for lenstronomy's ``LensModel``."""
    at = {"center_x": truth["centre_x"], "center_y": truth["centre_y"]}
    radius = math.exp(truth["log_einstein_radius"])
    e1, e2 = components((truth["eta_1"], truth["eta_2"]))
    names = ["EPL", "SHEAR"]
    keywords: list[dict[str, Any]] = [
        {"theta_E": radius, "gamma": truth["slope"], "e1": e1, "e2": e2, **at},
        {
            "gamma1": truth["shear_1"], "gamma2": truth["shear_2"],
            "ra_0": truth["centre_x"], "dec_0": truth["centre_y"],
        },
    ]  # fmt: skip
    for order in (3, 4):
        cosine, sine = truth[f"m{order}_cosine"], truth[f"m{order}_sine"]
        names.append("MULTIPOLE")
        # Its amplitude is a length; ours is a fraction of the halo.
        size, phase = radius * math.hypot(cosine, sine), math.atan2(sine, cosine) / order
        keywords.append({"m": order, "a_m": size, "phi_m": phase, **at, "r_E": radius})
    if "perturber_einstein_radius" in truth:
        names.append("POINT_MASS")
        keywords.append({
            "theta_E": truth["perturber_einstein_radius"],
            "center_x": truth["perturber_x"], "center_y": truth["perturber_y"],
        })  # fmt: skip
    return names, keywords


def fine_grid() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of the finer pixels, raveled, arcsec from the middle."""
    count = SIDE * FINE
    line = (np.arange(count) - (count - 1) / 2) * PIXEL_SCALE_ARCSEC / FINE
    x, y = np.meshgrid(line, line)
    return x.ravel(), y.ravel()


def radius_map() -> NDArray[np.float64]:
    """Distance of each pixel from the middle, arcsec, shape (SIDE, SIDE)."""
    line = (np.arange(SIDE) - (SIDE - 1) / 2) * PIXEL_SCALE_ARCSEC
    return np.hypot(line[:, None], line)


def fine_psf() -> NDArray[np.float64]:
    """PSF on the finer pixels, averaged over a pixel of the camera; its sum is 1."""
    count = PSF_SIDE * FINE
    line = (np.arange(count) - (count - 1) / 2) * PIXEL_SCALE_ARCSEC / FINE
    square = line[:, None] ** 2 + line**2
    psf = sum(
        part * np.exp(-square / (2 * width**2)) / (2 * math.pi * width**2)
        for width, part in zip(PSF_WIDTHS, PSF_PARTS, strict=True)
    )
    seen = fftconvolve(psf, np.ones((FINE, FINE)), mode="same")
    return seen / seen.sum()


def pixel_psf() -> NDArray[np.float64]:
    """PSF as the pixels see it, shape (PSF_SIDE, PSF_SIDE); its sum is 1."""
    psf = fine_psf()[FINE // 2 :: FINE, FINE // 2 :: FINE]
    return psf / psf.sum()


def camera_image(scene: NDArray[np.float64]) -> NDArray[np.float64]:
    """Image that the camera takes of a scene on the finer grid, shape (SIDE, SIDE)."""
    count = SIDE * FINE
    blurred = fftconvolve(scene.reshape(count, count), fine_psf(), mode="same")
    return blurred[FINE // 2 :: FINE, FINE // 2 :: FINE]


def described(lens: MockLens) -> dict[str, Any]:
    """What a mock is, for files of results."""
    return asdict(lens)["truth"] | {"id": lens.image.id}
