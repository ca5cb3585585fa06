"""The Occam factor of the source: its derivatives, and that fits end where the evidence is best."""

from __future__ import annotations

import math

import pytest
import torch
from made_lens import made_cutout

from lumpylens.lenses.model import ALL, INDEX, LIGHT, MULTIPOLES, RealLens, vector
from lumpylens.lenses.observation import cut_disc
from lumpylens.lenses.occam import occam_gradient
from lumpylens.lenses.refine import Belief, _bent, _damped, _limited_bend, refine

NUMBERS = vector(
    log_einstein_radius=math.log(0.9), eta_1=0.1, eta_2=0.15, slope=2.05, centre_x=0.01,
    centre_y=-0.01, shear_1=0.03, shear_2=-0.02, source_x=0.08, source_y=0.12,
    log_source_scale=math.log(0.12), light_eta_1=0.1, light_eta_2=0.15, light_eta_3=-0.1,
    light_eta_4=0.05, perturber_x=0.6, perturber_y=0.5, perturber_strength=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def observation():
    return cut_disc(made_cutout(side=61, einstein_radius=0.9), radius=1.4)


def test_unsee_is_the_transpose_of_see(observation):
    random = torch.Generator().manual_seed(0)
    light = torch.randn(3, *observation.pixels.shape, generator=random, dtype=torch.float64)
    seen = torch.randn(3, len(observation), generator=random, dtype=torch.float64)
    there = (observation.see(light) * seen).sum(dim=1)
    back = (observation.unsee(seen) * light).sum(dim=(1, 2))
    assert torch.allclose(there, back, rtol=1e-3, atol=1e-3 * float(there.abs().max()))


def test_derivatives_are_those_of_the_log_determinant(observation):
    model = RealLens(observation, 6, 1e-3)
    names = (*ALL, *MULTIPOLES, "perturber_strength")
    derivatives = occam_gradient(model, model.lens(NUMBERS), names)
    assert not derivatives[[names.index(name) for name in LIGHT]].any()
    for name, derivative in zip(names, derivatives.tolist(), strict=True):
        step, ends = 2e-3, []
        for sign in (1, -1):
            values = NUMBERS.clone()
            values[INDEX[name]] += sign * step
            ends.append(model.lens(values).linear.log_determinant)
        assert derivative == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02, abs=0.05)
    assert abs(float(derivatives[names.index("slope")])) > 5


def test_a_fit_ends_where_no_step_lowers_the_energy(observation):
    """Without the Occam factor's derivatives, it would end several standard deviations away."""
    belief = Belief({"slope": (2.0, 0.3), **dict.fromkeys(LIGHT[2:], (0.1, 0.1))})
    start = NUMBERS.clone()
    start[INDEX["perturber_strength"]] = 0.0
    fitted = refine(RealLens(observation, 8, 1e-2), start, ALL, belief, steps=40)
    assert fitted.converged
    assert fitted.left < 0.02

    def energy(values):
        lens = fitted.model.lens(values)
        linear = lens.linear
        return linear.chi2 + linear.penalty + linear.log_determinant + belief.energy(values)

    for name in ("log_einstein_radius", "eta_1", "slope", "shear_2", "source_x"):
        step, ends = 0.3 * fitted.spread(name), []
        for sign in (1, -1):
            values = fitted.lens.values.clone()
            values[INDEX[name]] += sign * step
            ends.append(energy(values))
        # The derivative in units of standard deviations is the distance to the minimum, twice.
        assert abs(ends[0] - ends[1]) / (2 * 0.3) < 2 * 0.25, name


def test_a_fit_that_lacks_steps_says_so(observation):
    far = NUMBERS.clone()
    far[INDEX["slope"]] = 1.7
    fitted = refine(RealLens(observation, 6, 1e-2), far, ALL, Belief({}), steps=1)
    assert not fitted.converged


def test_what_is_left_is_in_units_of_the_errors(observation):
    """The same fit, whose errors are twice as large, is four times as close to its end."""
    far = NUMBERS.clone()
    far[INDEX["slope"]] = 1.9
    one, four = (
        refine(RealLens(observation, 6, 1e-2), far, ALL, Belief({}), steps=2, unit=unit)
        for unit in (1.0, 4.0)
    )
    assert one.left > 0.1
    assert four.left == pytest.approx(one.left / 4, rel=1e-6)


@pytest.mark.parametrize(
    ("gained", "factor"), [(-0.1, 10.0), (0.5, 1.0), (0.25, 1.125), (1.0, 0.2), (1.8, 0.2)]
)
def test_damping_falls_only_after_steps_that_bring_what_they_promise(gained, factor):
    assert _damped(1e-2, gained) == pytest.approx(1e-2 * factor)
    assert _damped(1e-6, gained) >= 1e-6


def test_the_curvature_is_learned_from_steps():
    """Of a quadratic energy exactly, once there was a step along every axis."""
    random = torch.Generator().manual_seed(2)
    mixing = torch.randn(5, 9, generator=random, dtype=torch.float64)
    spreads = torch.tensor([1e-3, 1.0, 0.1, 1e-2, 10.0], dtype=torch.float64)
    first_order = (mixing @ mixing.mT) / spreads / spreads[:, None]
    ratios, axes = torch.linalg.eigh(mixing @ mixing.mT)
    parts = torch.tensor([0.5, 1.0, 0.7, 0.9, 1.0], dtype=torch.float64)
    true = (axes * (ratios * parts) @ axes.mT) / spreads / spreads[:, None]
    bend = torch.zeros_like(true)
    for _ in range(5):
        step = torch.randn(5, generator=random, dtype=torch.float64) * spreads
        bend = _bent(bend, first_order, step, true @ step)
    assert torch.allclose(_limited_bend(first_order, bend, 1.0), true, rtol=1e-5)
    assert torch.allclose(_limited_bend(first_order, 0 * bend, 1.0), first_order)
    tiny = 1e-3 * spreads * axes[:, 0]
    assert not _bent(0 * bend, first_order, tiny, 0 * tiny).any(), "rounding decides"
    # No error becomes smaller, and none larger by more than the root of three.
    for most in (1.0, 1.5):
        steeper = _limited_bend(first_order, 2 * first_order, most)
        assert torch.allclose(steeper, most * first_order, rtol=1e-5)
    flat = _limited_bend(first_order, -0.99 * first_order, 1.0)
    assert torch.allclose(flat, first_order / 3, rtol=1e-5)
