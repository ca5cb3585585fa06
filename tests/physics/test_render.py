"""The renderer: the lens equation, its symmetries and its derivatives."""

import math

import numpy as np
import pytest
import torch

from lumpylens.physics.deflection import point_masses
from lumpylens.physics.parameters import COUNT, INDEX, NAMES, pack, rotate
from lumpylens.physics.render import Scene

SIZE = 48

MOVES_LIGHT = [name for name in NAMES if name != "log_psf_sigma_px"]


def lens(**changes):
    """A lens without symmetry, in double precision."""
    values = {
        "log_einstein_radius_px": math.log(9.3),
        "shear_1": 0.07,
        "shear_2": -0.11,
        "source_x": 0.21,
        "source_y": -0.13,
        "source_eta_1": 0.2,
        "source_eta_2": 0.15,
        "lens_light_eta_1": -0.25,
        "lens_light_eta_2": 0.1,
        "log_source_radius_px": math.log(4.0),
        "log_source_index": math.log(1.4),
        "log_lens_light_radius_px": math.log(5.0),
        "log_lens_light_index": math.log(2.2),
        "mass_eta_1": 0.15,
        "mass_eta_2": -0.2,
        "centre_x_px": 0.3,
        "centre_y_px": -0.2,
    }
    values |= changes
    return pack(**{k: torch.tensor([v], dtype=torch.float64) for k, v in values.items()})


CENTRED = {"centre_x_px": 0.0, "centre_y_px": 0.0}


def images(scene, parameters):
    light = scene.light(parameters)
    return torch.stack([light.lens, light.source])


def test_the_source_is_seen_where_lenstronomy_sees_it():
    lens_model = pytest.importorskip("lenstronomy.LensModel.lens_model")
    light_model = pytest.importorskip("lenstronomy.LightModel.light_model")
    util = pytest.importorskip("lenstronomy.Util.param_util")

    def shape(eta_1, eta_2):
        return util.phi_q2_ellipticity(
            0.5 * math.atan2(eta_2, eta_1), math.exp(-math.hypot(eta_1, eta_2))
        )

    radius, scene = 9.3, Scene(SIZE, SIZE)
    parameters = lens()
    at = torch.tensor([[[4.0, -6.0, 0.8]]], dtype=torch.float64)
    x, y = scene.grid(parameters)
    extra = point_masses(x, y, at[..., 0], at[..., 1], at[..., 2])
    ours = scene.light(parameters, extra).source[0].numpy().ravel()

    x, y = x.numpy().ravel(), y.numpy().ravel()
    centre = {"center_x": 0.3, "center_y": -0.2}
    e1, e2 = shape(0.15, -0.2)
    bent = lens_model.LensModel(["SIE", "SHEAR", "POINT_MASS"]).ray_shooting(
        x, y,
        [{"theta_E": radius, "e1": e1, "e2": e2, **centre},
         {"gamma1": 0.07, "gamma2": -0.11, "ra_0": 0.3, "dec_0": -0.2},
         {"theta_E": 0.8, "center_x": 4.0, "center_y": -6.0}],
    )  # fmt: skip
    e1, e2 = shape(0.2, 0.15)
    theirs = light_model.LightModel(["SERSIC_ELLIPSE"]).surface_brightness(
        *bent,
        [{"amp": 1.0, "R_sersic": 4.0, "n_sersic": 1.4, "e1": e1, "e2": e2,
          "center_x": 0.3 + 0.21 * radius, "center_y": -0.2 - 0.13 * radius}],
    )  # fmt: skip
    # lenstronomy's b(n) is a line through the exact one, off by 1e-3.
    assert np.abs(ours - theirs).max() < 3e-3 * theirs.max()


# -- symmetries ---------------------------------------------------------------------------------


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_parameters_give_the_turned_image(quarters):
    scene, parameters = Scene(SIZE, SIZE), lens()
    turned = rotate(parameters, torch.tensor([quarters * math.pi / 2], dtype=torch.float64))
    # y runs downwards, so from x towards y is clockwise and rot90 is the other way.
    wanted = torch.rot90(images(scene, parameters), -quarters, dims=(2, 3))
    # The halo's 1e-6 px of softening has a direction.
    torch.testing.assert_close(images(scene, turned), wanted, rtol=1e-5, atol=1e-5)


def test_turning_back_and_forth_changes_nothing():
    parameters = torch.randn(5, COUNT, generator=torch.Generator().manual_seed(0)).double()
    angle = torch.linspace(0.1, 3.0, 5, dtype=torch.float64)
    torch.testing.assert_close(rotate(rotate(parameters, angle), -angle), parameters)


def test_a_mirrored_lens_gives_the_mirrored_image():
    odd = [n for n in NAMES if n.endswith(("eta_2", "shear_2", "source_y", "centre_y_px"))]
    parameters = lens()
    mirrored = parameters.clone()
    for name in odd:
        mirrored[:, INDEX[name]] *= -1
    scene = Scene(SIZE, SIZE)
    torch.testing.assert_close(
        images(scene, mirrored), images(scene, parameters).flip(2), rtol=1e-5, atol=1e-5
    )


def test_a_lens_in_other_units_looks_the_same():
    # Twice as large on twice as many pixels; the cusp's softening is a length and stays away.
    small = lens(**CENTRED)
    large = small.clone()
    for name in NAMES:
        if name.startswith("log_") and name.endswith("radius_px"):
            large[:, INDEX[name]] += math.log(2)
    fine = Scene(SIZE, SIZE, cusp_samples=1)
    coarse = Scene(SIZE, SIZE, pixel=2.0, cusp_samples=1)
    wanted = images(fine, small)
    assert (images(coarse, large) - wanted).abs().max() < 1e-3 * wanted.max()


# -- grids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cusp_samples", [1, 2])
def test_a_smaller_grid_is_a_crop(cusp_samples):
    parameters = lens()
    whole = images(Scene(SIZE, SIZE, cusp_samples=cusp_samples), parameters)
    # Rows 6 to 35, columns 10 to 45: their centre against that of the image, 23.5.
    part = images(Scene(30, 36, offset_x=4.0, offset_y=-3.0, cusp_samples=cusp_samples), parameters)
    torch.testing.assert_close(part, whole[:, :, 6:36, 10:46])


def test_the_cusp_is_averaged_over_its_pixels():
    parameters = lens()
    samples, half = 4, 8
    fine = Scene(SIZE * samples, SIZE * samples, pixel=1 / samples, cusp_samples=1)
    brute = fine.light(parameters).lens.reshape(1, SIZE, samples, SIZE, samples).mean((2, 4))
    ours = Scene(SIZE, SIZE, cusp_samples=samples, cusp_radius=half).light(parameters).lens
    inside = slice(SIZE // 2 - half, SIZE // 2 + half)
    torch.testing.assert_close(ours[:, inside, inside], brute[:, inside, inside])
    # Outside, the value at the pixel's centre is as good.
    torch.testing.assert_close(ours, brute, rtol=0.01, atol=1e-3)


def test_the_cusp_is_averaged_over_positions_of_any_pitch():
    parameters, pitch = lens(), 1 / 3
    ends = [
        Scene(SIZE, SIZE, offset_x=x * pitch / 2, offset_y=y * pitch / 2, cusp_samples=1)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    brute = torch.stack([scene.light(parameters).lens for scene in ends]).mean(0)
    ours = Scene(SIZE, SIZE, cusp_samples=2, cusp_pitch=pitch)
    inside = slice(SIZE // 2 - 8, SIZE // 2 + 8)
    found = ours.light(parameters).lens
    torch.testing.assert_close(found[:, inside, inside], brute[:, inside, inside])
    assert ours.sampling_variance == pytest.approx((pitch / 2) ** 2)


def test_a_given_deflection_is_one_more_in_the_lens_equation():
    scene, parameters = Scene(SIZE, SIZE), lens()
    shift = torch.full((1, SIZE, SIZE), 0.5, dtype=torch.float64)
    moved = lens(source_x=0.21 + 0.5 / 9.3)
    torch.testing.assert_close(
        scene.light(parameters, (shift, torch.zeros_like(shift))).source,
        scene.light(moved).source,
    )


# -- derivatives --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["round", "elliptical"])
@pytest.mark.parametrize("name", MOVES_LIGHT)
def test_tangents_are_finite_differences(name, shape):
    flat = {} if shape == "elliptical" else {"mass_eta_1": 0.0, "mass_eta_2": 0.0}
    # Off the grid's symmetry, so that no ray meets the cusps within a step of differences.
    parameters, scene = lens(**flat), Scene(SIZE, SIZE, cusp_samples=2)
    made = scene.tangents(parameters, [name])
    step = 1e-5
    move = torch.zeros_like(parameters)
    move[:, INDEX[name]] = step
    plain = scene.light(parameters)
    torch.testing.assert_close(made.lens[:, 0], plain.lens)
    torch.testing.assert_close(made.source[:, 0], plain.source)
    ahead, behind = scene.light(parameters + move), scene.light(parameters - move)
    for which in ("lens", "source"):
        numeric = (getattr(ahead, which) - getattr(behind, which)) / (2 * step)
        if name not in getattr(made, f"{which}_names"):
            assert not numeric.any()
        else:
            scale = float(numeric.abs().max())
            ours = getattr(made, which)[:, 1]
            torch.testing.assert_close(ours, numeric, rtol=1e-4, atol=1e-4 * scale)


def test_the_source_gradient_is_the_answer_to_a_shift_of_the_rays():
    scene, parameters = Scene(SIZE, SIZE), lens()
    gx, gy = scene.tangents(parameters, []).source_gradient.unbind(dim=1)
    step = torch.full((1, SIZE, SIZE), 1e-5, dtype=torch.float64)
    none = torch.zeros_like(step)
    for ours, shift in ((gx, (step, none)), (gy, (none, step))):
        back = (-shift[0], -shift[1])
        ahead, behind = scene.light(parameters, back).source, scene.light(parameters, shift).source
        numeric = (ahead - behind) / 2e-5
        torch.testing.assert_close(ours, numeric, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", ["round", "elliptical"])
def test_single_precision_is_enough(shape):
    flat = {} if shape == "elliptical" else {"mass_eta_1": 0.0, "mass_eta_2": 0.0}
    parameters, scene = lens(**flat), Scene(SIZE, SIZE)
    for exact, single in zip(
        images(scene, parameters), images(scene, parameters.float()), strict=True
    ):
        # A hundredth of a grey level of 255.
        torch.testing.assert_close(
            single.double(), exact, rtol=0, atol=float(exact.max()) * 0.01 / 255
        )


@pytest.mark.parametrize("shape", ["round", "nearly round", "elliptical"])
@pytest.mark.parametrize(("samples", "pixel"), [(1, 1), (4, 1), (2, 2)])
def test_compiled_tangents_are_torchs(shape, samples, pixel):
    """Single precision on the processor is compiled, double precision is torch's."""
    size = {"round": 0.0, "nearly round": 2e-4, "elliptical": 0.3}[shape]
    parameters = lens(mass_eta_1=size, mass_eta_2=-size / 2)
    scene = Scene(SIZE, SIZE + 3, offset_x=0.5, pixel=pixel, cusp_samples=samples)
    exact, compiled = (scene.tangents(p, MOVES_LIGHT) for p in (parameters, parameters.float()))
    for which in ("lens", "source", "source_gradient"):
        true, ours = getattr(exact, which), getattr(compiled, which)
        assert ours.dtype == torch.float32
        scale = true.abs().amax(dim=(0, 2, 3))
        for column in range(true.shape[1]):
            torch.testing.assert_close(
                ours[:, column].double(), true[:, column], rtol=0, atol=float(scale[column]) * 1e-5
            )


def test_an_image_does_not_depend_on_its_batch():
    scene = Scene(SIZE, SIZE)
    batch = torch.cat([lens(), lens(shear_1=-0.1), lens(source_x=0.5)])
    together = images(scene, batch)
    for k in range(3):
        torch.testing.assert_close(together[:, k : k + 1], images(scene, batch[k : k + 1]))


# -- parameters ---------------------------------------------------------------------------------


def test_packing_names_what_it_does_not_know():
    with pytest.raises(KeyError, match="einstein_radius"):
        pack(einstein_radius=3.0)


def test_packing_broadcasts_and_fills_in():
    made = pack(shear_1=torch.tensor([0.1, 0.2]), log_einstein_radius_px=2.0)
    assert made.shape == (2, COUNT)
    assert made[:, INDEX["log_source_radius_px"]].tolist() == pytest.approx([1.1, 1.1])
