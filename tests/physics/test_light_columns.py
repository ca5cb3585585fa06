"""Shapelets, multi-Gaussians, and the amplitudes that are solved for."""

from __future__ import annotations

import math

import pytest
import torch

from lumpylens.physics.compiled.shapelets import shapelet_columns, shapelet_light
from lumpylens.physics.linear_light import solve
from lumpylens.physics.multi_gaussian import MultiGaussian
from lumpylens.physics.shapelets import Shapelets, orders


def plane(side: int, half: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    line = torch.linspace(-half, half, side, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y, float(line[1] - line[0]) ** 2


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_shapelets_are_orthonormal():
    x, y, area = plane(161, 2.4)
    columns = Shapelets.at(x, y, 0.3, 6).columns().flatten(1)
    assert len(columns) == len(orders(6)) == 28
    torch.testing.assert_close(
        columns @ columns.mT * area, torch.eye(28, dtype=torch.float64), atol=1e-8, rtol=0
    )


def test_sum_of_shapelets():
    x, y, _ = plane(7, 0.7)
    coefficients, made = random(len(orders(4))), Shapelets.at(x, y, 0.2, 4)
    torch.testing.assert_close(
        made.sum(coefficients), torch.einsum("k,khw->hw", coefficients, made.columns())
    )


def test_gradient_of_shapelets():
    x, y, _ = plane(9, 0.7)
    coefficients = random(len(orders(5)))
    step = 1e-6

    def light(u, v):
        return torch.einsum("k,khw->hw", coefficients, Shapelets.at(u, v, 0.3, 5).columns())

    d_x, d_y = Shapelets.at(x, y, 0.3, 5).gradient(coefficients)
    torch.testing.assert_close(
        d_x, (light(x + step, y) - light(x - step, y)) / (2 * step), atol=1e-6, rtol=1e-6
    )
    torch.testing.assert_close(
        d_y, (light(x, y + step) - light(x, y - step)) / (2 * step), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("largest", [0, 1, 5, 23])
def test_compiled_shapelets_are_the_plain_ones(largest):
    x, y, _ = plane(12, 3.0)
    coefficients = random(len(orders(largest)))
    plain, scale = Shapelets.at(x, y, 0.2, largest), 0.2
    columns = torch.from_numpy(shapelet_columns(x.numpy(), y.numpy(), scale, largest))
    torch.testing.assert_close(columns, plain.columns().float(), atol=1e-6, rtol=1e-6)
    light, *gradient = shapelet_light(x.numpy(), y.numpy(), scale, coefficients.numpy(), largest)
    torch.testing.assert_close(torch.from_numpy(light), plain.sum(coefficients))
    for ours, theirs in zip(gradient, plain.gradient(coefficients), strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs)


def test_gaussians_of_single_precision_are_those_of_double():
    x, y, _ = plane(31, 3.0)
    widths = torch.tensor([0.04, 0.5], dtype=torch.float64)
    eta = torch.tensor([[0.3, -0.2], [0.0, 0.1]], dtype=torch.float64)
    amplitudes = random(4).abs()
    single, double = (
        MultiGaussian.at(x, y, eta, widths, dtype) for dtype in (torch.float32, torch.float64)
    )
    assert single.columns().dtype == torch.float32
    torch.testing.assert_close(single.columns().double(), double.columns(), atol=1e-5, rtol=1e-5)
    assert float(single.columns().min()) > 1e-36
    torch.testing.assert_close(
        single.tangents(amplitudes), double.tangents(amplitudes), atol=1e-3, rtol=1e-5
    )


def test_gaussians_have_unit_integral_and_right_tangents():
    x, y, area = plane(201, 3.0)
    widths = torch.tensor([0.2, 0.5], dtype=torch.float64)
    eta = torch.tensor([[0.3, -0.2], [0.0, 0.1]], dtype=torch.float64)
    columns = MultiGaussian.at(x, y, eta, widths).columns()
    torch.testing.assert_close(
        columns.sum(dim=(1, 2)) * area, torch.ones(4, dtype=torch.float64), atol=1e-4, rtol=0
    )
    amplitudes = random(4).abs()

    def light(centre, shape):
        made = MultiGaussian.at(x - centre[0], y - centre[1], shape, widths)
        return torch.einsum("k,khw->hw", amplitudes, made.columns())

    tangents = MultiGaussian.at(x, y, eta, widths).tangents(amplitudes)
    numbers = torch.cat([torch.zeros(2, dtype=torch.float64), eta.flatten()])
    for row, tangent in enumerate(tangents):
        step = torch.zeros(6, dtype=torch.float64)
        step[row] = 1e-6
        up, down = numbers + step, numbers - step
        difference = light(up[:2], up[2:].reshape(2, 2)) - light(down[:2], down[2:].reshape(2, 2))
        torch.testing.assert_close(tangent, difference / 2e-6, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_solution_is_the_constrained_minimum(seed):
    free, positive, data = random(3, 60, seed=seed), random(5, 60, seed=seed + 50), random(60)
    precision = torch.tensor([2.0, 0.5, 0.0], dtype=torch.float64)
    found = solve(torch.cat([free, positive]), precision, data)
    assert float(found.positive.min()) >= 0
    torch.testing.assert_close(
        found.residual, data - found.free @ free - found.positive @ positive, atol=1e-9, rtol=0
    )
    # Karush-Kuhn-Tucker: no gradient along free amplitudes and used ones, none inwards elsewhere.
    torch.testing.assert_close(free @ found.residual, precision * found.free, atol=1e-6, rtol=0)
    slope = positive @ found.residual
    used = found.positive > 0
    assert float(slope[used].abs().sum()) < 1e-5
    assert float(slope[~used].clamp_min(0).sum()) < 1e-5


def test_log_evidence_is_that_of_the_marginal_gaussian():
    free, data = random(4, 30), random(30, seed=3)
    precision = torch.full((4,), 1.7, dtype=torch.float64)
    found = solve(free, precision, data)
    covariance = torch.eye(30, dtype=torch.float64) + free.mT @ free / 1.7
    expected = torch.distributions.MultivariateNormal(
        torch.zeros(30, dtype=torch.float64), covariance
    ).log_prob(data)
    made = found.log_evidence - 15 * math.log(2 * math.pi)
    assert made == pytest.approx(float(expected), abs=1e-5)
    torch.testing.assert_close(
        found.without(data[None])[0], torch.linalg.solve(covariance, data), atol=1e-6, rtol=0
    )


def test_another_prior_is_another_solution():
    free, positive, data = random(3, 60), random(5, 60, seed=50), random(60, seed=2)
    columns = torch.cat([free, positive])
    weak, strong = (torch.tensor([p, p, 0.0], dtype=torch.float64) for p in (0.1, 9.0))
    again, expected = (
        solve(columns, weak, data).with_precision(strong),
        solve(columns, strong, data),
    )
    torch.testing.assert_close(again.free, expected.free)
    torch.testing.assert_close(again.positive, expected.positive)
    assert again.log_evidence == pytest.approx(expected.log_evidence)


def test_information_is_what_the_columns_leave_of_products():
    columns, rows, data = random(8, 60), random(4, 60, seed=50), random(60, seed=2)
    found = solve(columns, torch.tensor([2.0, 0.5, 0.0], dtype=torch.float64), data)
    assert 0 < int((found.positive > 0).sum()) < 5
    torch.testing.assert_close(found.information(rows), found.without(rows) @ rows.mT)
    basis = columns[: 3 + 5][torch.cat([torch.ones(3, dtype=torch.bool), found.positive > 0])]
    torch.testing.assert_close(found.basis, basis)
    precision = torch.diag(torch.nn.functional.pad(found.precision, (0, len(basis) - 3)))
    inverse = torch.linalg.inv(basis @ basis.mT + precision)
    projected = rows - (rows @ basis.mT) @ inverse @ basis
    torch.testing.assert_close(found.without(rows), projected, atol=1e-6, rtol=1e-6)


def test_evidence_finds_the_variance_of_the_amplitudes():
    generator = torch.Generator().manual_seed(1)
    truth = 0.3 * torch.randn(400, generator=generator, dtype=torch.float64)
    free = 20 * random(400, 1200) / math.sqrt(1200)
    data = truth @ free + random(1200, seed=9)
    found_precision = 1.0
    for _ in range(20):
        precision = torch.full((400,), found_precision, dtype=torch.float64)
        found = solve(free, precision, data)
        found_precision *= found.evidence_factor(slice(0, 400))
    assert found_precision**-0.5 == pytest.approx(0.3, rel=0.1)
