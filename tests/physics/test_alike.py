"""What is computed for one lens has the same bits alone as among others."""

import pytest
import torch

from lumpylens.detectors.physics.examination import READ_AT_ONCE, read
from lumpylens.physics.batches import per_lens
from lumpylens.physics.encoder import Encoder
from lumpylens.physics.parameters import COUNT
from lumpylens.physics.psf import kernel_response


@pytest.mark.parametrize("function", [torch.exp, torch.cosh, torch.sinh])
@pytest.mark.parametrize("count", [1, 7, 15])
def test_functions_of_a_number_of_each_lens(function, count):
    numbers = torch.randn(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(per_lens(function, numbers)[:count], per_lens(function, numbers[:count]))
    torch.testing.assert_close(per_lens(function, numbers), function(numbers))


def test_the_terms_of_a_kernel():
    """One that needs many terms does not lend its neighbour more than that needs."""
    at = torch.arange(-6, 7, dtype=torch.float32)
    round_one = torch.exp(-0.5 * (at[:, None] ** 2 + at**2) / 1.5**2)
    tilted = torch.exp(-0.5 * (at[:, None] ** 2 + at**2 + 1.6 * at[:, None] * at) / 1.5**2)
    # So slightly tilted that one term is within the tolerance.
    slightly = round_one * (1 + 1e-4 * at[:, None] * at)
    basis = torch.eye(20)
    both = kernel_response(basis, torch.stack([slightly, tilted]))
    alone = kernel_response(basis, slightly[None])
    assert both.rows.shape[1] > alone.rows.shape[1] == 1
    light = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(both(light)[:1], alone(light[:1]), rtol=1e-6, atol=1e-6)


def test_what_the_encoder_reads():
    """The same of an image alone, among few and among many, and at any place among them."""
    torch.manual_seed(0)
    encoder, many = Encoder((32, 32)).eval(), READ_AT_ONCE + 3
    images = torch.rand(many, 32, 32, generator=torch.Generator().manual_seed(1))
    together = read(encoder, (32, 32), images, torch.zeros(COUNT))
    backwards = read(encoder, (32, 32), images.flip(0), torch.zeros(COUNT))
    assert torch.equal(backwards.flip(0), together)
    for k in (0, READ_AT_ONCE - 1, many - 1):
        alone = read(encoder, (32, 32), images[k : k + 1], torch.zeros(COUNT))
        assert torch.equal(alone[0], together[k])
    assert len(together.unique(dim=0)) == many
