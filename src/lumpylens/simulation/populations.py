"""Populations of lenses with their cameras: one annotated set of numbers each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from lumpylens.errors import DataError
from lumpylens.simulation.distributions import Number, Range, largest, smallest
from lumpylens.simulation.sources import SOURCE_KINDS
from lumpylens.simulation.substructure import Substructure

__all__ = ["Population"]


@dataclass(frozen=True)
class Population:
    """Distribution of smooth lenses, and the camera that takes their images.

    Every `Number` is a constant, a uniform range ``(smallest, largest)``, or another distribution
    of `lumpylens.simulation.distributions`; all are independent. Angles run from the x axis
    (columns) towards the y axis (rows, downwards in a picture). Make variants with
    `dataclasses.replace`.

    Attributes
    ----------
    name : str
    size_px : int
        Side of the square image.
    pixel_scale_arcsec : float or None
        Side of a pixel, where it is known.
    band : str
        Name of the filter, for files that say it.
    lens_redshift, source_redshift : Number or None
        The source is drawn again until it lies behind the lens.
    velocity_dispersion_kms : Number or None
        Gives the Einstein radius, with the redshifts.
    einstein_radius_px : Number
        Mean, without a velocity dispersion.
    einstein_radius_spread : float
        Standard deviation as a fraction of the mean, normal and cut at three times that.
    einstein_radius_within_px : Range or None
        Lenses outside are drawn again.
    halo_mass_msun : float or None
        Mass that a point with the lens's Einstein radius would have, which sets the scale of all
        masses. None: from the redshifts and the pixel scale.
    shear : Number
    position_angle_deg : Range
        Of shear, halo, lens light and source, drawn for each.
    shear_angle_deg, mass_angle_deg, source_angle_deg : Number or None
        In place of `position_angle_deg`.
    mass_axis_ratio, lens_light_axis_ratio, source_axis_ratio : Number
        Minor to major axis.
    light_follows_mass : bool
        Lens light has the axis ratio and position angle of the halo.
    centre_offset_px : Number
        Position of the lens relative to the middle of the image, drawn for each axis.
    source_offset : Number
        Distance of the source from the lens in Einstein radii; its azimuth is any.
    source_x_px, source_y_px : Number or None
        In place of offset and azimuth.
    lens_light_radius_px, source_radius_px : Number
        Effective (half-light) radius.
    lens_light_index, source_index : Number
        Sersic index.
    lens_light_brightness, source_brightness : Number
        Surface brightness at the effective radius, in the unit of a linear image; 0 is no lens
        light.
    lens_light_magnitude, source_magnitude : Number or None
        In place of brightness: magnitude of the whole profile, for the source without lensing.
    zero_point : float or None
        Magnitude of one unit of brightness in one pixel.
    sources : {"sersic", "galaxies"}
        Whether sources are Sersic profiles or the galaxies that come with the package, with the
        light and the half-light radius of the profile.
    source_clumps : Number
        Number of star-forming clumps on the source, rounded.
    clump_radius : Number
        In effective radii of the source.
    clump_light : Number
        Fraction of the source's light that is in clumps.
    psf_sigma_px : Number
        Of the Gaussian point-spread function.
    sky : float
        Brightness of the empty sky that was not subtracted.
    noise : float
        Standard deviation of the Gaussian noise of sky and read-out; its median over images.
    noise_spread : float
        Standard deviation, between images, of its natural logarithm.
    photons : Number or None
        Counted per unit of brightness of the lens; None leaves their Poisson noise out.
    counted_twice : bool
        Whether a second Poisson noise is added, drawn from the image with its noise and sky.
    rectified : bool
        Whether the absolute brightness is recorded, so that noise brightens an empty sky.
    samples : int
        Rays traced per pixel and axis. With one, the averaging over a pixel is replaced by a
        wider blur: of 255 grey levels that is wrong by 0.03 rms in smooth lenses and 0.05 with
        `points`, by a few beside the densest masses; two samples have 0.4 of that error.
    cusp_pitch : float or None
        Distance in pixels between the 2 x 2 rays over which a pixel near the lens's core is
        averaged where `samples` is one. None: evenly, half a pixel.
    output : {"jpeg", "linear"}
        ``jpeg``: stretched from darkest to brightest pixel, 8 bits, compressed. ``linear``:
        brightness as it is, with a noise map (where there is noise) and the point-spread function.
    jpeg_quality : int
        The Independent JPEG Group's scale, 1 to 95.
    substructures : mapping of str to Substructure
        The population's own, by name.
    """

    name: str
    size_px: int = 150
    pixel_scale_arcsec: float | None = None
    band: str = ""
    lens_redshift: Number | None = None
    source_redshift: Number | None = None
    velocity_dispersion_kms: Number | None = None
    einstein_radius_px: Number = 20.0
    einstein_radius_spread: float = 0.0
    einstein_radius_within_px: Range | None = None
    halo_mass_msun: float | None = None
    shear: Number = (0.0, 0.3)
    position_angle_deg: Range = (-90.0, 90.0)
    shear_angle_deg: Number | None = None
    mass_angle_deg: Number | None = None
    source_angle_deg: Number | None = None
    mass_axis_ratio: Number = (1.0, 1.0)
    lens_light_axis_ratio: Number = (0.5, 1.0)
    source_axis_ratio: Number = (0.7, 1.0)
    light_follows_mass: bool = False
    centre_offset_px: Number = 0.0
    source_offset: Number = (0.0, 1.0)
    source_x_px: Number | None = None
    source_y_px: Number | None = None
    lens_light_radius_px: Number = (8.0, 8.0)
    source_radius_px: Number = (8.0, 8.0)
    lens_light_index: Number = 2.5
    source_index: Number = 1.5
    lens_light_brightness: Number = (1.2, 1.2)
    source_brightness: Number = (0.6, 1.2)
    lens_light_magnitude: Number | None = None
    source_magnitude: Number | None = None
    zero_point: float | None = None
    sources: Literal["sersic", "galaxies"] = "sersic"
    source_clumps: Number = 0.0
    clump_radius: Number = (0.1, 0.3)
    clump_light: Number = (0.1, 0.4)
    psf_sigma_px: Number = 1.4
    sky: float = 0.0
    noise: float = 0.04
    noise_spread: float = 0.0
    photons: Number | None = None
    counted_twice: bool = False
    rectified: bool = False
    samples: int = 1
    cusp_pitch: float | None = None
    output: Literal["jpeg", "linear"] = "linear"
    jpeg_quality: int = 75
    substructures: Mapping[str, Substructure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise `DataError` if a number is out of range."""
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, tuple) and not (
                len(value) == 2 and -math.inf < value[0] <= value[1] < math.inf
            ):
                raise DataError(f"{item.name} is a pair (smallest, largest), got {value}")
        for name in ("mass_axis_ratio", "lens_light_axis_ratio", "source_axis_ratio"):
            low, high = smallest(getattr(self, name)), largest(getattr(self, name))
            if not 0 < low <= high <= 1:
                raise DataError(f"{name} lies in 0 to 1, got {low:g} to {high:g}")
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not smallest(value) > 0:
                raise DataError(f"{name} must be positive, got {value}")
        for name in NOT_NEGATIVE:
            if smallest(getattr(self, name)) < 0:
                raise DataError(f"{name} is zero or positive, got {getattr(self, name)}")
        if not 0 <= self.einstein_radius_spread < 1 / 3:
            raise DataError(
                "einstein_radius_spread is a fraction below 1/3, "
                f"got {self.einstein_radius_spread:g}"
            )
        for name in ("sky", "noise", "noise_spread"):
            if not 0 <= getattr(self, name) < math.inf:
                raise DataError(f"{name} is zero or positive, got {getattr(self, name):g}")
        if self.photons is not None and not smallest(self.photons) > 0:
            raise DataError(f"photons must be positive, or None; got {self.photons}")
        if self.cusp_pitch is not None and not (self.samples == 1 and 0 < self.cusp_pitch < 1):
            raise DataError(
                "cusp_pitch lies between 0 and 1 pixel and goes with samples = 1, "
                f"got {self.cusp_pitch:g} with samples = {self.samples}"
            )
        if self.output not in ("jpeg", "linear"):
            raise DataError(f"output is jpeg or linear, got {self.output!r}")
        if self.sources not in SOURCE_KINDS:
            raise DataError(f"sources are sersic or galaxies, got {self.sources!r}")
        if self.output == "linear" and self.photons is not None and not self.noise:
            raise DataError(
                "an image of counted photons has a noise map, which needs noise above zero"
            )
        if self.counted_twice and self.photons is None:
            raise DataError("counted_twice needs photons")
        known = (self.lens_redshift, self.source_redshift, self.pixel_scale_arcsec)
        if self.velocity_dispersion_kms is not None and None in known:
            raise DataError("velocity_dispersion_kms needs redshifts and pixel_scale_arcsec")
        if (self.lens_redshift is None) != (self.source_redshift is None):
            raise DataError("give redshifts of both lens and source, or of neither")
        magnitudes = self.lens_light_magnitude is not None or self.source_magnitude is not None
        if magnitudes and self.zero_point is None:
            raise DataError("magnitudes need a zero_point")
        if (self.source_x_px is None) != (self.source_y_px is None):
            raise DataError("give both source_x_px and source_y_px, or neither")

    @property
    def psf_radius_px(self) -> int:
        """Half-width of the kernel that holds the widest point-spread function."""
        widest = largest(self.psf_sigma_px)
        if not math.isfinite(widest):
            raise DataError("psf_sigma_px needs an upper limit")
        return max(math.ceil(PSF_SIGMAS * widest), 1)


PSF_SIGMAS = 6
"""Half-width of the kernel in standard deviations: 2e-9 of a Gaussian lies outside on each axis."""

POSITIVE = (
    "size_px",
    "lens_redshift",
    "source_redshift",
    "velocity_dispersion_kms",
    "einstein_radius_px",
    "halo_mass_msun",
    "lens_light_radius_px",
    "source_radius_px",
    "lens_light_index",
    "source_index",
    "source_brightness",
    "clump_radius",
    "psf_sigma_px",
    "samples",
    "pixel_scale_arcsec",
)
NOT_NEGATIVE = ("shear", "source_offset", "lens_light_brightness", "source_clumps", "clump_light")
"""Numbers of a population that must be above zero, and those that may also be zero."""
