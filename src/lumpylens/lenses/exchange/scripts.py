"""Scripts that build a fitted lens in another code and continue its fit there."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from pprint import pformat
from typing import Any

from lumpylens.files.writing import whole_file
from lumpylens.lenses.analysis import LensAnalysis
from lumpylens.lenses.exchange import lenstronomy, pyautolens
from lumpylens.lenses.exchange.parametric import ParametricLens
from lumpylens.lenses.exchange.place import script_path
from lumpylens.lenses.pictures import file_stem

__all__ = ["write_script"]


def write_script(analysis: LensAnalysis, code: str, folder: Path) -> Path:
    """Write the script of one lens beside its FITS files, which are there already.

    Parameters
    ----------
    analysis : LensAnalysis
    code : str
        One of `CODES`.
    folder : Path

    Returns
    -------
    Path
        The script.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("lumpylens.lenses.exchange"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        # The values are made into literals here, and the file is no HTML.
        autoescape=False,
    )
    lens = ParametricLens.of(analysis)
    values = _of_lenstronomy(lens) if code == "lenstronomy" else _of_pyautolens(lens)
    rows, columns = shape = analysis.cutout.image.shape
    pixel = lens.pixel_scale_arcsec
    values |= {
        "stem": file_stem(lens.id),
        "pixel": pixel,
        "shape": shape,
        "first": (-(columns - 1) / 2 * pixel, -(rows - 1) / 2 * pixel),
    }
    text = templates.get_template(f"{code}.py.j2").render(
        version=version("lumpylens"),
        left_out=_left_out(lens),
        **{name: pformat(value, width=98, sort_dicts=False) for name, value in values.items()},
    )
    path = script_path(lens.id, code, folder)
    with whole_file(path) as part_file:
        part_file.write_text(text, encoding="utf-8")
    return path


def _left_out(lens: ParametricLens) -> str:
    """Comment on the companion of a lens, which the scripts do not build; empty without one."""
    if lens.companion is None:
        return ""
    x, y = lens.companion.centre
    return (
        "\n# Left out: the light of a companion, and its mass of Einstein radius "
        f"{lens.companion.einstein_radius:.3f} arcsec,\n# at x = {x:+.3f}, y = {y:+.3f} arcsec "
        "from the middle of the image, row 0 with the smallest y."
    )


def _of_lenstronomy(lens: ParametricLens) -> dict[str, Any]:
    lens_names, mass = lenstronomy.mass(lens.mass)
    source_names, source = lenstronomy.source_light(lens)
    light_names, light = lenstronomy.lens_light(lens)
    return {
        "lens_names": lens_names, "lens": mass, "source_names": source_names, "source": source,
        "lens_light_names": light_names, "lens_light": light,
    }  # fmt: skip


def _of_pyautolens(lens: ParametricLens) -> dict[str, Any]:
    return {
        "mass": pyautolens.mass(lens.mass),
        "lens_light": pyautolens.lens_light(lens),
        "source_light": pyautolens.source_light(lens),
        "sky": lens.sky,
    }
