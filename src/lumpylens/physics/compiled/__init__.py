"""The physics of `lumpylens.physics` again, in loops over pixels compiled for the processor."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["serves"]


def serves(*tensors: Tensor) -> bool:
    """Whether compiled code can compute with them: not for gradients, cards or double precision."""
    return all(
        tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not tensor.requires_grad
        for tensor in tensors
    )
