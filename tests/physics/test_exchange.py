"""Conventions of other codes, each against that code itself: rows of docs/other-codes.md."""

from __future__ import annotations

import ast
import json
import math
import runpy
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from test_fitted_lens import with_best

from lumpylens.data import LensImages
from lumpylens.lenses.exchange import lenstronomy, pyautolens
from lumpylens.lenses.exchange.coolest import from_north, write_template
from lumpylens.lenses.exchange.data import fitted_pixels, write_data
from lumpylens.lenses.exchange.parametric import ParametricLens
from lumpylens.lenses.exchange.place import data_path, template_path
from lumpylens.lenses.exchange.scripts import write_script
from lumpylens.lenses.model import INDEX
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.physics.compiled.rays import trace
from lumpylens.physics.rays import RAYS

ODD = {
    "eta_1": -0.2, "eta_2": 0.45, "slope": 2.2, "centre_x": 0.1, "centre_y": -0.07,
    "shear_1": -0.06, "shear_2": 0.09,
}  # fmt: skip
"""Numbers of a mass for which no two conventions agree."""
BENT = ODD | {"m3_cosine": 0.02, "m3_sine": -0.013, "m4_cosine": -0.011, "m4_sine": 0.017}


@pytest.fixture(params=[ODD, BENT], ids=["smooth", "multipoles"])
def analysis(request, fitted_lens):
    """The fitted lens with another mass, and the light that fits best with it."""
    return with_mass(fitted_lens.analysis, request.param)


def with_mass(analysis, numbers):
    best = analysis.smooth.best
    values = best.lens.values.clone()
    for name, value in numbers.items():
        values[INDEX[name]] = value
    return with_best(analysis, lens=best.model.lens(values))


@pytest.fixture
def lens(analysis):
    return ParametricLens.of(analysis)


@pytest.fixture
def rays():
    line = np.linspace(-1.9, 1.7, 12)
    return np.meshgrid(line, line + 0.03)


def our_deflection(analysis, x, y):
    values = analysis.smooth.best.lens.values
    numbers = np.array([float(values[INDEX[name]]) for name in RAYS])
    bx, by = trace(x, y, numbers)
    return np.stack([x - bx, y - by])


def our_image(analysis):
    """The model in the unit of the image, NaN where it is not compared; shape (H, W)."""
    observation, lens = analysis.observation, analysis.smooth.best.lens
    model = (observation.data - lens.linear.residual) / observation.weights
    whole = np.full(observation.shape, np.nan)
    whole[fitted_pixels(analysis)] = model.numpy() * analysis.cutout.unit
    return whole


def agreement(analysis, image):
    """Largest difference over the highest pixel, away from the edge and as a whole."""
    ours = our_image(analysis)
    difference = np.abs(image - ours) / np.nanmax(ours)
    return np.nanmax(difference[10:-10, 10:-10]), np.nanmax(difference)


def test_pixels_that_were_fitted_lie_where_the_data_are(analysis):
    lens, observation = analysis.smooth.best.lens, analysis.observation
    residual = (analysis.cutout.image - our_image(analysis))[fitted_pixels(analysis)]
    ours = (lens.linear.residual / observation.weights).numpy() * analysis.cutout.unit
    assert residual == pytest.approx(ours, abs=1e-5)


def test_lenstronomys_deflection_is_ours(analysis, lens, rays):
    from lenstronomy.LensModel.lens_model import LensModel

    names, keywords = lenstronomy.mass(lens.mass)
    assert keywords[0]["theta_E"] == lens.mass.einstein_radius
    made = LensModel(names).alpha(*rays, keywords)
    assert np.stack(made) == pytest.approx(our_deflection(analysis, *rays), abs=1e-7)


def test_caustics_takes_our_einstein_radius(fitted_lens, rays):
    import torch
    from caustics.func import reduced_deflection_angle_epl

    analysis = with_mass(fitted_lens.analysis, ODD | {"shear_1": 0.0, "shear_2": 0.0})
    mass = ParametricLens.of(analysis).mass
    q, angle = mass.ellipse.axis_ratio, math.radians(mass.ellipse.angle_deg)
    numbers = [
        torch.tensor(value, dtype=torch.float64)
        for value in (*mass.centre, q, angle, mass.einstein_radius, mass.slope - 1)
    ]
    made = reduced_deflection_angle_epl(*numbers, *map(torch.from_numpy, rays), 60)
    assert torch.stack(made).numpy() == pytest.approx(our_deflection(analysis, *rays), abs=1e-7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of NumPy, in lenstronomy's blur
def test_the_lenstronomy_script_builds_the_lens_and_continues_it(analysis, tmp_path):
    write_data(analysis, tmp_path)
    script = write_script(analysis, "lenstronomy", tmp_path)
    built = runpy.run_path(str(script))
    middle, whole = agreement(analysis, built["model_image"]())
    # Single precision in the middle. At the edge, lenstronomy blurs in no light from beyond it.
    assert middle < 1e-5
    assert whole < 2e-3
    said = subprocess.run(
        [sys.executable, "-W", "ignore", script, "--steps", "2", "--particles", "4"],
        check=True, capture_output=True, text=True, timeout=300, cwd=tmp_path,
    ).stdout  # fmt: skip
    residual = (analysis.cutout.image - our_image(analysis)) / analysis.cutout.noise
    before, after = (float(line.split(": ")[1]) for line in said.splitlines()[:2])
    assert before == pytest.approx(float(np.nanmean(residual**2)), rel=2e-3)
    assert after < before, "it has no prior on the amplitudes"
    assert "EPL theta_E: " in said
    with fits.open(tmp_path / "small-lenstronomy.fits") as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "MODEL", "CONTINUED"]


@pytest.fixture
def autolens(monkeypatch):
    monkeypatch.setenv("PYAUTO_SKIP_WORKSPACE_VERSION_CHECK", "1")
    return pytest.importorskip("autolens", reason="PyAutoLens is not installed")


@pytest.mark.filterwarnings("ignore")
def test_pyautolenss_deflection_is_ours(autolens, analysis, lens, rays):
    x, y = (axis.ravel() for axis in rays)
    grid = autolens.Grid2DIrregular(list(zip(-y, x, strict=True)))
    made = np.zeros((2, len(x)))
    for name, keywords in pyautolens.mass(lens.mass):
        mass = getattr(autolens.mp, name)(**keywords)
        down, right = np.asarray(mass.deflections_yx_2d_from(grid=grid).array).T
        made += [right, -down]
    # Its shear is about the middle of the image, which moves the source.
    made += np.array(lens.mass.shift)[:, None]
    ours = our_deflection(analysis, *rays).reshape(2, -1)
    assert made == pytest.approx(ours, abs=1e-7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_pyautolens_script_builds_the_lens(autolens, analysis, tmp_path):
    write_data(analysis, tmp_path)
    script = write_script(analysis, "pyautolens", tmp_path)
    said = subprocess.run(
        [sys.executable, "-W", "ignore", script, "--live", "0"],
        check=True, capture_output=True, text=True, timeout=300, cwd=tmp_path,
    ).stdout  # fmt: skip
    assert "chi2 per pixel of the model: " in said
    assert max(agreement(analysis, fits.getdata(tmp_path / "small-pyautolens.fits", 1))) < 1e-5


def test_a_script_is_python_whatever_the_name_of_the_lens(analysis, tmp_path):
    for name in ('it\'s "{odd}"', 'a\\b"""', "é\udc80"):
        odd = replace(analysis, cutout=replace(analysis.cutout, id=name))
        for code in ("lenstronomy", "pyautolens"):
            try:
                script = write_script(odd, code, tmp_path)
            except UnicodeEncodeError:
                pytest.skip("this file system takes no such names")
            tree = ast.parse(script.read_text(encoding="utf-8"))
            values = {
                node.targets[0].id: node.value
                for node in tree.body
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            }
            assert ast.literal_eval(values["NAME"]) == name


def template_of(analysis, folder, redshifts=None):
    """COOLEST object that the package reads from the files of an analysis, and validates."""
    pytest.importorskip("coolest", reason="the extra coolest is not installed")
    from coolest.template.json import JSONSerializer

    folder.mkdir(exist_ok=True)
    write_data(analysis, folder)
    path = write_template(analysis, redshifts, folder)
    return JSONSerializer(str(path.with_suffix(""))).load(validate=True, verbose=False)


def numbers_of(profile):
    return {name: part.point_estimate.value for name, part in profile.parameters.items()}


def test_coolest_has_the_numbers_of_the_fit(analysis, lens, tmp_path):
    template = template_of(analysis, tmp_path, Redshifts(0.2, 0.6))
    galaxy, field, source = template.lensing_entities
    assert (galaxy.redshift, field.redshift, source.redshift) == (0.2, 0.2, 0.6)
    halo = numbers_of(galaxy.mass_model[0])
    assert halo["theta_E"] == pytest.approx(lens.mass.einstein_radius)
    assert halo["gamma"] == pytest.approx(2.2)
    assert halo["q"] == pytest.approx(math.exp(-math.hypot(0.2, 0.45)))
    along_x = math.degrees(math.atan2(0.45, -0.2)) / 2
    assert halo["phi"] == pytest.approx(along_x - 90)
    shear = numbers_of(field.mass_model[0])
    assert shear["gamma_ext"] == pytest.approx(math.hypot(0.06, 0.09))
    assert shear["phi_ext"] == pytest.approx(math.degrees(math.atan2(0.09, -0.06)) / 2 - 90)
    multipoles = template.meta.get("multipoles", [])
    assert [part["order"] for part in multipoles] == [part.order for part in lens.mass.multipoles]
    assert template.meta["sky_per_pixel"] == lens.sky
    assert template.cosmology is None


def test_angles_from_north():
    assert [from_north(angle) for angle in (-90, -30, 0, 30, 90)] == [0, 60, 90, -60, 0]


def test_coolests_image_is_ours(fitted_lens, tmp_path):
    analysis = with_mass(fitted_lens.analysis, ODD)
    template = template_of(analysis, tmp_path)
    from coolest.api.composable_models import ComposableLensModel, ComposableLightModel
    from scipy.signal import fftconvolve

    made, _ = ComposableLensModel(
        template, str(tmp_path),
        kwargs_selection_source={"entity_selection": [2]},
        kwargs_selection_lens_mass={"entity_selection": [0, 1]},
    ).model_image(supersampling=1)  # fmt: skip
    galaxy = ComposableLightModel(template, str(tmp_path), entity_selection=[0])
    line = (np.arange(51) - 25) * 0.1
    light = galaxy.evaluate_surface_brightness(*np.meshgrid(line, line))
    made = made + fftconvolve(light, analysis.cutout.psf, mode="same")
    middle, whole = agreement(analysis, made + template.meta["sky_per_pixel"])
    assert middle < 1e-5
    assert whole < 2e-3


def test_coolest_is_read_as_the_lens_that_it_is_of(analysis, tmp_path):
    template_of(analysis, tmp_path)
    (item,) = LensImages.open(tmp_path)
    for name in ("image", "noise", "psf"):
        np.testing.assert_allclose(getattr(item, name), getattr(analysis.cutout, name), rtol=1e-6)
    assert item.pixel_scale_arcsec == analysis.cutout.pixel_scale_arcsec


def test_an_image_that_is_no_square_keeps_its_coordinates(analysis, tmp_path):
    cutout, observation = analysis.cutout, analysis.observation
    # Two rows less at the top.
    less = replace(cutout, image=cutout.image[:-2], noise=cutout.noise[:-2])
    smaller = replace(observation, shape=less.image.shape)
    usable = smaller.usable.clone()
    usable[less.image.shape[0] - smaller.first_row :] = False
    flat = replace(analysis, cutout=less, observation=replace(smaller, usable=usable))
    template = template_of(flat, tmp_path)
    pixels = template.observation.pixels
    assert (pixels.num_pix_x, pixels.num_pix_y) == (51, 51)
    assert pixels.field_of_view_x == pytest.approx([-2.55, 2.55])
    assert pixels.field_of_view_y == pytest.approx([-2.45, 2.65])
    image = fits.getdata(data_path("small", "image", tmp_path))
    np.testing.assert_array_equal(image[:-2], less.image)
    assert np.isnan(image[-2:]).all()
    assert not fits.getdata(data_path("small", "mask", tmp_path))[-2:].any()


def test_a_template_is_json_with_relative_paths(analysis, tmp_path):
    template_of(analysis, tmp_path)
    template = json.loads(template_path("small", tmp_path).read_text(encoding="utf-8"))
    assert template["standard"] == "COOLEST"
    assert template["mode"] == "MAP"
    assert template["observation"]["pixels"]["fits_file"]["path"] == "small-image.fits"
