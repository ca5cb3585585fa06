"""What a name says of the pixels under it: image, noise map, PSF, or something that is no image.

The names are those that files, extensions and arrays have where they come from: PyAutoLens
(``data noise_map psf mask``), HST and JWST (``SCI ERR WHT CON CTX DQ VAR_POISSON``), Euclid
(``BGSUB RMS``), HSC and LSST (``IMAGE MASK VARIANCE``), the Legacy Surveys (``INVVAR MASKBITS``),
astropy's CCDData (``UNCERT MASK PSFIMAGE``) and STPSF (``OVERSAMP DET_SAMP OVERDIST DET_DIST``).
"""

from __future__ import annotations

import re
from enum import StrEnum

__all__ = ["BAND", "NOISE_KINDS", "Kind", "split_title"]


class Kind(StrEnum):
    """Kind of a map of pixels; its value is the name that messages use."""

    IMAGE = "image"
    NOISE = "noise map"
    VARIANCE = "variance map"
    WEIGHT = "weight map"
    PSF = "PSF"
    MASK = "mask"
    OTHER = "other map"


NOISE_KINDS = (Kind.NOISE, Kind.VARIANCE, Kind.WEIGHT)
"""What a noise map can be made of, the most direct one first."""

NAMES = {
    Kind.IMAGE: "image img sci science data bgsub flux",
    Kind.NOISE: "noise noise_map noisemap err error errors sigma rms unc uncert uncertainty "
    "std stddev",
    Kind.VARIANCE: "var variance",
    Kind.WEIGHT: "wht weight weights wgt wt ivar invvar inverse_variance",
    Kind.PSF: "psf psf_kernel psfimage psf_image kernel epsf kernel_point_source "
    "oversamp det_samp overdist det_dist",
    Kind.MASK: "mask masks msk maskbits dq flag flags",
    Kind.OTHER: "con ctx context exp exptime nexp coverage model residual residuals residual_map "
    "chi2 chi_squared_map sky bkg background bgmod segm seg segmentation segmap hdrtab "
    "var_poisson var_rnoise var_flat over_sample_size_lp over_sample_size_pixelization "
    "signal_to_noise_map",
}
KINDS = {name: kind for kind, names in NAMES.items() for name in names.split()}

BAND = re.compile(
    r"(?<![^_\-.\s])(?:"
    r"F\d{3,4}(?:LP|[WMNX])2?"  # HST and JWST
    r"|F(?:062|087|106|129|146|158|184|213)"  # Roman
    r"|VIS|(?:NIR|NISP)[_-]?[YJH]"  # Euclid
    r"|(?:(?:HSC|LSST|DES|DECAM|DECALS|LS|SDSS|PS1|PANSTARRS|CFIS|MEGACAM|WISHES|VISTA)[_-]?)?"
    r"(?:[UGRIZYJHKBV]|KS|[RI]2)"  # from the ground; r2 and i2 are HSC's second ones
    r")(?![^_\-.\s])",
    re.IGNORECASE,
)
"""A photometric band as a word of a name."""

WORD = re.compile(r"[^_\-.\s]+")
MOST_WORDS = max(name.count("_") for name in KINDS) + 1


def split_title(title: str) -> tuple[str, Kind | None]:
    """Split a name such as ``NIR_H_RMS`` into what it belongs to, ``NIR_H``, and its kind.

    Parameters
    ----------
    title : str
        The kind may come last, as in ``J0822_noise_map``, first, as in ``PSF_F814W``, or before
        a band, as in ``J0822_psf_F814W``; but ``model_a`` is a name of its own, and
        ``lens1_model`` a model.

    Returns
    -------
    rest : str
        Empty if the name says nothing but the kind; the whole name if it says no kind.
    kind : Kind or None
    """
    words = list(WORD.finditer(title))
    for last_first in (True, False):
        for count in range(min(MOST_WORDS, len(words)), 0, -1):
            chosen = words[-count:] if last_first else words[:count]
            kind = KINDS.get("_".join(word.group().lower() for word in chosen))
            if kind is not None and (last_first or kind is not Kind.OTHER):
                base = title[: chosen[0].start()] if last_first else title[chosen[-1].end() :]
                return base.strip("_-. "), kind
    band = next((word for word in BAND.finditer(title) if word.end() == len(title)), None)
    if band is not None and band.start() > 0:
        separator = title[band.start() - 1]
        base, kind = split_title(title[: band.start() - 1])
        if kind is not None:
            return f"{base}{separator}{band.group()}", kind
    return title, None
