"""Masses in a halo, the compiled loops and whole images, against torch and lenstronomy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lumpylens.physics.compiled.blur import blurred
from lumpylens.physics.compiled.scene import lens_light, rays
from lumpylens.physics.compiled.sersic import sersic_light
from lumpylens.physics.masses import Masses
from lumpylens.physics.parameters import INDEX, pack
from lumpylens.physics.psf import gaussian_response
from lumpylens.physics.render import Scene
from lumpylens.physics.truncated_nfw import enclosed_mass
from lumpylens.simulation import SUBSTRUCTURES, population, simulate_with_truth
from lumpylens.simulation.camera import brightness, brightness_of_many
from lumpylens.simulation.lens import add_substructure, draw_lens
from lumpylens.simulation.perturbers import masses_of

lens_model = pytest.importorskip("lenstronomy.LensModel.lens_model")
param_util = pytest.importorskip("lenstronomy.Util.param_util")

KINDS = ("points", "spheres", "haloes", "rods")


def some(kind, count=6, seed=3):
    random = np.random.default_rng(seed)
    rows = np.ones((1, count, 5), np.float32)
    rows[0, :, :2] = random.uniform(-15, 15, (count, 2))
    rows[0, :, 2] = random.uniform(0.5, 3, count)
    rows[0, :, 3] = random.uniform(0.5, 6, count)
    rows[0, :, 4] = random.uniform(0.5, 20, count)
    return Masses(**{kind: rows})


def grid(size=60):
    return Scene(size, size).grid(torch.zeros(1))


def oracle(kind, masses, x, y):
    """Summed deflection by lenstronomy, which has no rod."""
    models, arguments = [], []
    for at_x, at_y, size, scale, truncation in getattr(masses, kind)[0].astype(float):
        place = {"center_x": at_x, "center_y": at_y}
        if kind == "haloes":
            # Total mass in lenstronomy's normalisation, from its own deflection far out.
            own = {"Rs": scale, "r_trunc": truncation * scale, "alpha_Rs": 1.0}
            far = 1e5 * scale
            total = lens_model.LensModel(["TNFW"]).alpha(far, 0.0, [own])[0] * far
            models.append("TNFW")
            arguments.append({**own, **place, "alpha_Rs": size**2 / total})
        else:
            models.append({"points": "POINT_MASS", "spheres": "SIS"}[kind])
            arguments.append({**place, "theta_E": size})
    model = lens_model.LensModel(models)
    return np.stack(model.alpha(x.numpy().ravel(), y.numpy().ravel(), arguments)), model, arguments


@pytest.mark.parametrize(("kind", "tolerance"), [("points", 1e-5), ("spheres", 1e-5),
                                                 ("haloes", 4e-4)])  # fmt: skip
def test_deflections_are_lenstronomys(kind, tolerance):
    masses = some(kind)
    x, y = grid()
    theirs, _, _ = oracle(kind, masses, x[0], y[0])
    ours = torch.stack(masses.deflection(x, y)).flatten(1).numpy()
    size = np.hypot(*theirs)
    assert (np.hypot(*(ours - theirs)) / size).max() < tolerance


@pytest.mark.parametrize("kind", ["spheres", "haloes"])
def test_the_divergence_is_twice_the_convergence(kind):
    masses = some(kind)
    x, y = torch.meshgrid(*[torch.linspace(-20, 20, 37) + 0.013] * 2, indexing="xy")
    step = 0.25
    parts = []
    for dx, dy in ((1, 0), (0, 1)):
        ends = [
            masses.deflection((x + s * dx * step)[None], (y + s * dy * step)[None])[dy][0]
            for s in (1, -1)
        ]
        parts.append((ends[0] - ends[1]) / (2 * step))
    _, model, arguments = oracle(kind, masses, x, y)
    kappa = model.kappa(x.numpy().ravel(), y.numpy().ravel(), arguments)
    places = masses.haloes if kind == "haloes" else masses.spheres
    nearest = np.min(
        [np.hypot(x.numpy() - a, y.numpy() - b) for a, b in places[0, :, :2]], axis=0
    ).ravel()
    away = nearest > 3  # closer by, a difference of a quarter pixel is no derivative
    found = sum(parts).numpy().ravel() / 2
    np.testing.assert_allclose(found[away], kappa[away], rtol=0.02, atol=2e-4)


@pytest.mark.parametrize("truncation", [0.3, 1.0, 4.0, 30.0])
def test_a_truncated_halo_holds_its_mass(truncation):
    x = np.geomspace(1e-6, 1e6, 400)
    inside = enclosed_mass(x, truncation)
    assert (np.diff(inside)[x[1:] < 1e3] > 0).all()
    assert inside[-1] == pytest.approx(1, abs=1e-4)
    # The slope of the mass gives lenstronomy's convergence, to a common factor.
    own = {"Rs": 1.0, "r_trunc": truncation, "alpha_Rs": 1.0}
    at = np.geomspace(0.01, 30, 30)
    step = 1e-4
    ends = [enclosed_mass(at * (1 + sign * step), truncation) for sign in (1, -1)]
    density = (ends[0] - ends[1]) / (2 * step * at**2)
    kappa = lens_model.LensModel(["TNFW"]).kappa(at, 0 * at, [own])
    np.testing.assert_allclose(density / density[0], kappa / kappa[0], rtol=1e-4)


# -- compiled loops -----------------------------------------------------------------------------


def numbers(eta=0.0):
    return pack(
        log_einstein_radius_px=2.6, shear_1=0.1, shear_2=-0.05, source_x=0.3, source_y=-0.2,
        source_eta_1=0.1, source_eta_2=0.2, lens_light_eta_1=-0.3, mass_eta_1=eta,
        mass_eta_2=-eta / 2, centre_x_px=0.3, centre_y_px=-0.2,
    )  # fmt: skip


@pytest.mark.parametrize("eta", [0.0, 5e-4, 0.02, 0.5])
@pytest.mark.parametrize("kind", [None, *KINDS])
@pytest.mark.parametrize("samples", [1, 2])
def test_compiled_rays_are_torchs(eta, kind, samples):
    scene = Scene(40 * samples, 44 * samples, pixel=1 / samples)
    masses = Masses() if kind is None else some(kind)
    parameters = numbers(eta)
    # The scene's masses are relative to the image's centre where the lens is; here it is not.
    x, y = scene.grid(parameters)
    x = x - parameters[0, INDEX["centre_x_px"]]
    y = y - parameters[0, INDEX["centre_y_px"]]
    u, v, _, _ = scene.rays(parameters, masses.deflection(x, y))
    found = rays(scene, parameters[0].double().numpy(), masses)
    # Beside a point mass single precision has fewer digits to give.
    np.testing.assert_allclose(found[0], u[0], rtol=2e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], v[0], rtol=2e-4, atol=1e-4)


@pytest.mark.parametrize(("samples", "pitch"), [(1, None), (2, None), (4, None), (2, 1 / 3)])
def test_compiled_light_and_blur_are_torchs(samples, pitch):
    scene = Scene(41, 48, cusp_samples=samples, cusp_pitch=pitch)
    parameters = numbers()
    plain = parameters[0].double().numpy()
    light = scene.light(parameters)
    np.testing.assert_allclose(lens_light(scene, plain), light.lens[0], rtol=1e-4)
    u, v = rays(scene, plain, Masses())
    names = ("source_eta_1", "source_eta_2", "log_source_radius_px", "log_source_index")
    source = sersic_light(u, v, *(plain[INDEX[name]] for name in names))
    np.testing.assert_allclose(source, light.source[0], rtol=1e-4, atol=1e-6)
    square = light.source[:, :, :41]
    expected = gaussian_response(torch.eye(41), torch.tensor([1.4]), 9)(square[:, None])[0, 0]
    found = blurred(np.ascontiguousarray(square[0].numpy()), 1.4, 9)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [None, *SUBSTRUCTURES])
@pytest.mark.parametrize("samples", [1, 2])
def test_a_batch_of_torch_is_the_compiled_image(kind, samples):
    preset = replace(population("euclid"), source_clumps=3)
    random = np.random.default_rng(5)
    lenses = [draw_lens(preset, random) for _ in range(3)]
    if kind is not None:
        lenses = [add_substructure(lens, SUBSTRUCTURES[kind], random) for lens in lenses]
    batch = brightness_of_many(lenses, 40, samples)
    for lens, image in zip(lenses, batch, strict=True):
        alone = brightness(lens, 40, samples)
        # A ray through the middle of a mass may come out anywhere.
        assert np.median(np.abs(alone - image)) < 1e-5 * image.max()
        assert np.quantile(np.abs(alone - image), 0.999) < 1e-3 * image.max()


# -- whole images -------------------------------------------------------------------------------


def lenstronomys(lens, size, samples):
    from lenstronomy.Data.imaging_data import ImageData
    from lenstronomy.Data.psf import PSF
    from lenstronomy.ImSim.image_model import ImageModel
    from lenstronomy.LightModel.light_model import LightModel

    centre = (size - 1) / 2
    data = ImageData(
        image_data=np.zeros((size, size)), background_rms=1.0, exposure_time=1.0,
        ra_at_xy_0=-centre - lens.centre_x_px, dec_at_xy_0=-centre - lens.centre_y_px,
        transform_pix2angle=np.eye(2),
    )  # fmt: skip
    psf = PSF(psf_type="GAUSSIAN", fwhm=lens.psf_sigma_px * 2.354820, pixel_size=1.0, truncation=6)
    point = masses_of(lens.perturbers).points[0].astype(float)
    model = lens_model.LensModel(["SIE", "SHEAR", *["POINT_MASS"] * len(point)])
    image = ImageModel(
        data, psf, model, LightModel(["SERSIC_ELLIPSE"]), LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": samples},
    )  # fmt: skip

    def ellipse(angle_deg, ratio):
        e1, e2 = param_util.phi_q2_ellipticity(math.radians(angle_deg), ratio)
        return {"e1": e1, "e2": e2}

    angle = 2 * math.radians(lens.shear_angle_deg)
    mass = [
        {"theta_E": lens.halo_einstein_radius_px,
         **ellipse(lens.mass_angle_deg, lens.mass_axis_ratio)},
        {"gamma1": lens.shear * math.cos(angle), "gamma2": lens.shear * math.sin(angle)},
        *({"theta_E": size, "center_x": x, "center_y": y} for x, y, size in point[:, :3]),
    ]  # fmt: skip
    source = {
        "amp": lens.source_brightness, "R_sersic": lens.source_radius_px,
        "n_sersic": lens.source_index, "center_x": lens.source_x_px, "center_y": lens.source_y_px,
        **ellipse(lens.source_angle_deg, lens.source_axis_ratio),
    }  # fmt: skip
    light = {
        "amp": lens.lens_light_brightness, "R_sersic": lens.lens_light_radius_px,
        "n_sersic": lens.lens_light_index,
        **ellipse(lens.lens_light_angle_deg, lens.lens_light_axis_ratio),
    }  # fmt: skip
    return image.image(mass, [source], [light])


@pytest.mark.parametrize("preset", ["wide", "hst", "euclid"])
@pytest.mark.parametrize("kind", [None, "points"])
def test_images_are_lenstronomys(preset, kind):
    made = simulate_with_truth(preset, 3, seed=8, substructure=kind)
    size = 64
    for lens in made.lenses:
        # Beyond the edge the sky is dark here, and as bright as the edge there.
        theirs = lenstronomys(lens, size, 4)
        inside = (slice(10, -10), slice(10, -10))
        ours, theirs = brightness(lens, size, samples=4)[inside], theirs[inside]
        # In the innermost pixels a ray that falls beside the cusp of the light decides.
        y, x = np.indices(ours.shape) - (len(ours) - 1) / 2
        cusp = np.hypot(x - lens.centre_x_px, y - lens.centre_y_px) < 1
        assert np.abs(ours - theirs)[~cusp].max() < 0.01 * theirs.max()
        assert np.sqrt(((ours - theirs) ** 2).mean()) < 2e-3 * theirs.max()
