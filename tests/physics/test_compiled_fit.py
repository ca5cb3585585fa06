"""Compiled predictions and normal equations of fits are those of torch."""

from dataclasses import replace

import pytest
import torch
from test_projection import COUNT_OF_LENSES, model, values

from lumpylens.physics.compiled.normal import normal_equations
from lumpylens.physics.inference import along, normal_matrix
from lumpylens.physics.model import Linearisation, NoiseLevel

AMPLITUDES = torch.tensor([[30.0, 20.0, 1.0], [1.0, 2.0, 0.0], [0.1, 50.0, -2.0]])


@pytest.mark.parametrize("level", [(1.0, 0, 0, 0), (0.01, 0.2, 0, 0), (0.01, 0, 0.3, 0.05)])
@pytest.mark.parametrize(
    ("kind", "given"), [("compressed", False), ("linear", False), ("linear", True)]
)
def test_predictions(kind, given, level):
    smooth = replace(model(kind), noise=NoiseLevel(*map(float, level)))
    generator = torch.Generator().manual_seed(2)
    noise = torch.rand(COUNT_OF_LENSES, 64, 64, generator=generator) if given else None
    lens, source, _ = smooth.columns(values()[:, smooth.free_index]).unbind(dim=1)
    compiled, reference = (
        predict(lens, source, AMPLITUDES, noise)
        for predict in (smooth._compiled_prediction, smooth._reference_prediction)
    )
    for ours, theirs in zip(compiled, reference, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_normal_equations():
    generator = torch.Generator().manual_seed(4)
    tangents = torch.randn(3, 5, 70, generator=generator)
    score, information = torch.rand(2, 3, 70, generator=generator)
    line = Linearisation(score, score, score, tangents)
    gradient, matrix = normal_equations(tangents.numpy(), score.numpy(), information.numpy())
    torch.testing.assert_close(torch.from_numpy(gradient), along(tangents, score))
    torch.testing.assert_close(torch.from_numpy(matrix), normal_matrix(line, information))
