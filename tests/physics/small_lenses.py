"""Lenses made by the smooth model itself, with nothing but noise added."""

import math
from dataclasses import replace

import torch

from lumpylens.physics.fit_data import Prior, observe
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import Measurement
from lumpylens.physics.parameters import GEOMETRY, INDEX, pack
from lumpylens.physics.render import Scene

SIZE = 48
SIGMA = 0.05
TRUE = pack(
    log_einstein_radius_px=math.log(9.0),
    log_source_radius_px=math.log(4.0),
    log_source_index=math.log(1.4),
    log_lens_light_radius_px=math.log(4.5),
    log_lens_light_index=math.log(2.2),
    log_psf_sigma_px=math.log(1.3),
)[0]
WIDTHS = torch.tensor([0.3, 0.15, 0.15, 0.6, 0.6, 0.4, 0.4, 0.4, 0.4])
MIDDLE = torch.cat([TRUE[:1], torch.zeros(8)])
PRIOR = Prior(MIDDLE, torch.diag(WIDTHS.square().reciprocal()))


def lenses(count=40, seed=0, varying=None, spread=0.0, lens_light=1.0, sigma=SIGMA):
    """Model, data and starts of lenses made by the model itself."""
    generator = torch.Generator().manual_seed(seed)
    model = SmoothModel(
        Scene(SIZE, SIZE, cusp_samples=2), Measurement(0, 0, SIZE), TRUE, GEOMETRY,
        NoiseLevel(sigma**2),
    )  # fmt: skip
    values = MIDDLE + 0.3 * WIDTHS * torch.randn(count, 9, generator=generator)
    maker, made = model, values
    if varying:
        maker = replace(model, free=(*GEOMETRY, varying))
        own = TRUE[INDEX[varying]] + spread * torch.randn(count, 1, generator=generator)
        made = torch.cat([values, own], dim=1)
    clean = maker.predict(made, torch.tensor([[lens_light, 1.0, 0.1]]).repeat(count, 1))
    pixels = clean + sigma * torch.randn(clean.shape, generator=generator)
    return model, observe(model, pixels), values
