"""One line of the catalogue of real lenses, and what each of its columns means."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from lumpylens.lenses.rows import number, text

__all__ = ["LATER_COLUMNS", "LensRow"]


@dataclass(frozen=True)
class LensRow:
    """One line of the catalogue; numbers that are not known are NaN.

    The meaning of each field is in its metadata, which is also what ECSV files say.
    """

    id: str = text("name of the lens")
    einstein_radius_arcsec: float = number(
        "Einstein radius; a circle of this radius has the area of the mass ellipse inside which "
        "the mean convergence is 1"
    )
    einstein_radius_err: float = number(
        "its standard deviation in arcsec; as in all errors, that of noise map and model is in it"
    )
    ellipticity: float = number("1 - axis ratio of the mass")
    ellipticity_angle_deg: float = number(
        "direction of the mass's major axis, from x towards y; row 0 is at the bottom"
    )
    shear: float = number("size of the external shear")
    shear_angle_deg: float = number(
        "direction in which the shear stretches, from x towards y; row 0 is at the bottom"
    )
    slope: float = number("three-dimensional logarithmic slope of the mass; 2 is isothermal")
    chi2_per_pixel: float = number(
        "chi2 per pixel of the smooth lens; 0.5 is usual for drizzled images, whose noise maps are "
        "often too large"
    )
    quality: str = text("`good`, or the reasons for doubt in words")
    perturber_x_arcsec: float = number(
        "best position of a perturber along columns, relative to the centre of the lens"
    )
    perturber_y_arcsec: float = number("the same along rows; row 0 has the smallest y")
    perturber_einstein_radius_arcsec: float = number(
        "Einstein radius of the perturber that fits best"
    )
    perturber_mass_msun: float = number("its mass in solar masses; empty without redshifts")
    perturber_log_evidence: float = number(
        "gain in log evidence: model with this perturber minus smooth lens, both fitted again"
    )
    perturber_log_evidence_multipoles: float = number(
        "the same with third and fourth multipoles of the mass free"
    )
    perturber_p_value: float = number(
        "probability that a lens without a perturber has such a gain anywhere, errors of the model "
        "included; empty for a fit in doubt"
    )
    error: str = text("why the lens could not be fitted")
    perturber_snr: float = number("largest signal-to-noise ratio in the perturbation map")
    inflation: float = number(
        "factor by which errors of noise map and model increase significances; the p-value is "
        "corrected for it"
    )
    residual_scatter: float = number(
        "scatter of smoothed residuals away from the arcs; 1 for the given noise"
    )
    map_scatter: float = number("scatter of the perturbation map; 1 for the given noise")
    noise_maximum: float = number(
        "largest signal-to-noise ratio in maps of noise alone: location of its Gumbel law"
    )
    noise_maximum_scale: float = number("scale of that law")
    centre_x_arcsec: float = number(
        "centre of the lens along columns, relative to the middle of the image"
    )
    centre_y_arcsec: float = number("the same along rows")
    source_order: float = number("highest order of the source's shapelets")
    seconds: float = number("total time on one core; the next five columns are parts of it")
    seconds_smooth: float = number("time of the smooth fit")
    seconds_filter: float = number("time of the perturbation map")
    seconds_noise: float = number("time of the draws of noise")
    seconds_perturber: float = number("time of the fit with a perturber")
    seconds_multipoles: float = number("time of the fit with a perturber and multipoles")
    digest: str = text(
        "fingerprint of pixels and settings; a lens whose row has the same is not fitted again"
    )
    doubts: str = text(
        "codes of the reasons for doubt, separated by spaces; empty for a fit without doubt"
    )
    ra_deg: float = number(
        "right ascension (ICRS) of the lens's centre; empty if the header has no sky coordinates"
    )
    dec_deg: float = number("declination (ICRS) of the lens's centre")
    perturber_ra_deg: float = number("right ascension (ICRS) of the best position of a perturber")
    perturber_dec_deg: float = number("declination (ICRS) of the best position of a perturber")
    perturber_limit_arcsec: float = number(
        "Einstein radius above which a perturber near the arcs would have been seen; empty for a "
        "fit in doubt"
    )
    perturber_limit_msun: float = number(
        "the same as a mass in solar masses; empty without redshifts"
    )
    strength_error_arcsec2: float = number(
        "standard deviation of a perturber's squared Einstein radius near the arcs (median over "
        "the perturbation map), for the given noise"
    )
    msun_per_square_arcsec: float = number(
        "solar masses within an Einstein radius of 1 arcsec; empty without redshifts"
    )
    effective_einstein_radius_arcsec: float = number(
        "radius of a circle with the area inside the tangential critical curve of mass and shear, "
        "as in the catalogue of Euclid"
    )
    mass_x_arcsec: float = number(
        "centre of the mass along columns, relative to the centre of the lens"
    )
    mass_y_arcsec: float = number("the same along rows")
    joint_einstein_radius_arcsec: float = number(
        "Einstein radius of the lens that was fitted together with the perturber; the columns with "
        "`joint` belong to the perturber's place and strength, those without it to the lens alone"
    )
    joint_ellipticity: float = number("ellipticity of its mass")
    joint_ellipticity_angle_deg: float = number("direction of its mass's major axis")
    joint_shear: float = number("its external shear")
    joint_shear_angle_deg: float = number("direction in which that shear stretches")
    joint_slope: float = number("slope of its mass")
    joint_mass_x_arcsec: float = number(
        "centre of its mass along columns, relative to the centre of the lens"
    )
    joint_mass_y_arcsec: float = number("the same along rows")
    ellipticity_error: float = number("standard deviation of the ellipticity")
    ellipticity_angle_error_deg: float = number(
        "standard deviation of its angle; 52 degrees if nothing is known of it"
    )
    shear_error: float = number("standard deviation of the shear")
    shear_angle_error_deg: float = number("standard deviation of its angle")
    slope_error: float = number("standard deviation of the slope")
    mass_x_error_arcsec: float = number("standard deviation of the mass's centre along columns")
    mass_y_error_arcsec: float = number("the same along rows")
    centre_x_error_arcsec: float = number("standard deviation of the lens's centre along columns")
    centre_y_error_arcsec: float = number("the same along rows")
    effective_einstein_radius_error_arcsec: float = number(
        "standard deviation of the effective Einstein radius"
    )
    m3_cosine: float = number(
        "third multipole of the mass as a fraction of it: the part with cos(3 angle), the angle "
        "from x towards y"
    )
    m3_sine: float = number("the part with sin(3 angle)")
    m4_cosine: float = number("fourth multipole: the part with cos(4 angle)")
    m4_sine: float = number("the part with sin(4 angle)")
    m3_cosine_error: float = number("standard deviation of `m3_cosine`")
    m3_sine_error: float = number("standard deviation of `m3_sine`")
    m4_cosine_error: float = number("standard deviation of `m4_cosine`")
    m4_sine_error: float = number("standard deviation of `m4_sine`")
    perturber_x_error_arcsec: float = number(
        "standard deviation of the perturber's place along columns, while all of the lens is "
        "free; empty if the best mass is 0"
    )
    perturber_y_error_arcsec: float = number("the same along rows")
    perturber_einstein_radius_error_arcsec: float = number(
        "standard deviation of the perturber's Einstein radius"
    )
    perturber_mass_error_msun: float = number(
        "standard deviation of the perturber's mass; empty without redshifts"
    )
    joint_einstein_radius_error_arcsec: float = number(
        "standard deviation of the Einstein radius that was fitted together with the perturber"
    )
    joint_ellipticity_error: float = number("standard deviation of that lens's ellipticity")
    joint_ellipticity_angle_error_deg: float = number("standard deviation of its angle")
    joint_shear_error: float = number("standard deviation of that lens's shear")
    joint_shear_angle_error_deg: float = number("standard deviation of its angle")
    joint_slope_error: float = number("standard deviation of that lens's slope")
    joint_mass_x_error_arcsec: float = number(
        "standard deviation of that lens's centre of mass along columns"
    )
    joint_mass_y_error_arcsec: float = number("the same along rows")
    joint_m3_cosine: float = number("`m3_cosine` of the lens fitted together with the perturber")
    joint_m3_sine: float = number("`m3_sine` of that lens")
    joint_m4_cosine: float = number("`m4_cosine` of that lens")
    joint_m4_sine: float = number("`m4_sine` of that lens")
    joint_m3_cosine_error: float = number("standard deviation of `joint_m3_cosine`")
    joint_m3_sine_error: float = number("standard deviation of `joint_m3_sine`")
    joint_m4_cosine_error: float = number("standard deviation of `joint_m4_cosine`")
    joint_m4_sine_error: float = number("standard deviation of `joint_m4_sine`")
    error_inflation: float = number(
        "factor by which the errors of the lens alone are larger than those of the given noise: "
        "the scatter of its perturbation map, at least 1; the errors have it in them"
    )
    joint_error_inflation: float = number("the same for the lens with the perturber")
    mostly_prior: str = text(
        "columns of which more than half of the information is the prior, separated by spaces"
    )
    priors: str = text("priors of the fit, as the option `--prior` takes them")
    seconds_errors: float = number(
        "time of the last fits, with and without the perturber, which the errors are of"
    )
    companion_x_arcsec: float = number(
        "place of a companion, a galaxy that shines beside the arcs, along columns, relative to "
        "the centre of the lens; empty if there is none. Its mass is part of the smooth lens"
    )
    companion_y_arcsec: float = number("the same along rows")
    companion_snr: float = number("signal-to-noise ratio of the companion's light")
    companion_masked: float = number(
        "1 if the companion's pixels are masked in the image, so that they are never compared; "
        "else 0"
    )
    companion_einstein_radius_arcsec: float = number("Einstein radius of the companion's mass")
    companion_einstein_radius_error_arcsec: float = number("its standard deviation")
    companion_mass_msun: float = number("its mass in solar masses; empty without redshifts")
    companion_log_evidence: float = number(
        "gain in log evidence by the companion's mass: smooth lens with its light and mass minus "
        "that with its light alone"
    )
    companion_p_value: float = number(
        "probability that a companion without mass has such a gain at its known place; empty for a "
        "fit in doubt"
    )
    without_companion_p_value: float = number(
        "`perturber_p_value` if no mass were attributed to the companion: that of both gains "
        "together"
    )
    perturber_profile: str = text(
        "profile of the perturber with the largest evidence: `point`, `pseudo-jaffe` or `nfw`; "
        "empty if no perturber is significant, so that they were not compared"
    )
    pseudo_jaffe_log_evidence: float = number(
        "`perturber_log_evidence_multipoles` with a pseudo-Jaffe profile, truncated by the tide of "
        "the lens"
    )
    pseudo_jaffe_einstein_radius_arcsec: float = number("Einstein radius of its isothermal sphere")
    pseudo_jaffe_strength_arcsec2: float = number(
        "its total mass as the squared Einstein radius of a point of this mass"
    )
    pseudo_jaffe_strength_error_arcsec2: float = number("its standard deviation")
    pseudo_jaffe_mass_msun: float = number(
        "its total mass in solar masses; empty without redshifts"
    )
    pseudo_jaffe_mass_error_msun: float = number("its standard deviation")
    nfw_log_evidence: float = number(
        "the gain with a truncated NFW profile; empty without redshifts, which it needs, and where "
        "such a fit does not converge"
    )
    nfw_m200_msun: float = number(
        "its mass within 200 critical densities before it was truncated, solar masses"
    )
    nfw_m200_error_msun: float = number("its standard deviation")
    nfw_redshifts: str = text("redshifts of lens and source with which it was tried")
    seconds_profiles: float = number("time of the fits with other profiles")
    stars_halo_log_evidence: float = number(
        "log evidence of the smooth lens with stars that follow its light and an NFW halo, minus "
        "that with a power law; empty if no perturber may be significant or multipoles explain it, "
        "so that no other mass was fitted, or if the lens has no light"
    )
    perturber_log_evidence_stars_halo: float = number(
        "`perturber_log_evidence` with that mass instead of a power law"
    )
    stellar_fraction: float = number(
        "part of that mass within the Einstein radius that is stars, without a perturber"
    )
    broken_power_law_log_evidence: float = number(
        "log evidence of the smooth lens with a broken power law, minus that with a power law"
    )
    perturber_log_evidence_broken_power_law: float = number(
        "`perturber_log_evidence` with that mass instead of a power law"
    )
    perturber_p_value_any_mass: float = number(
        "largest p-value of the perturber in all masses that were fitted: that of its smallest "
        "gain; empty for a fit in doubt"
    )
    seconds_masses: float = number("time of the fits with other masses")

    @property
    def perturber_significance(self) -> float:
        """Significance in standard deviations that corresponds to the gain in log evidence."""
        return math.sqrt(2 * max(self.perturber_log_evidence, 0.0))

    @property
    def gains_of_masses(self) -> dict[str, float]:
        """Gain in log evidence by the perturber in each mass but the power law, by its name.

        Those that were not fitted are left out.
        """
        gains = {
            "multipoles of the mass": self.perturber_log_evidence_multipoles,
            "stars and a dark halo": self.perturber_log_evidence_stars_halo,
            "a broken power law": self.perturber_log_evidence_broken_power_law,
        }
        return {name: gain for name, gain in gains.items() if not math.isnan(gain)}

    @property
    def trusted(self) -> bool:
        """Whether the lens was fitted, and its fit is not in doubt."""
        return not self.error and not self.doubts


_NAMES = tuple(column.name for column in fields(LensRow))
LATER_COLUMNS = _NAMES[_NAMES.index("ra_deg") :]
"""Columns that tables of earlier versions lack; they are empty there."""
