"""Gaussian blur of one image, compiled for the processor."""

from __future__ import annotations

import numpy as np

from lumpylens.physics.compiled.elementary import Image, compiled

__all__ = ["blurred"]


def blurred(light: Image, sigma_px: float, radius: int) -> Image:
    """Blur with a sampled, truncated, normalised Gaussian; the sky beyond the edge is dark."""
    at = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (at / sigma_px) ** 2)
    out = np.empty_like(light)
    _convolve(out, light, (taps / taps.sum()).astype(np.float32))
    return out


@compiled
def _convolve(out, light, taps):  # type: ignore[no-untyped-def]
    """Blur by a symmetric kernel, three pairs of taps at a time."""
    height, width = light.shape
    radius = (taps.shape[0] // 2 + 2) // 3 * 3
    half = np.zeros(radius + 1, np.float32)  # from the middle outwards
    half[: taps.shape[0] // 2 + 1] = taps[taps.shape[0] // 2 :]
    padded = np.zeros((height + 2 * radius, width), np.float32)
    padded[radius : radius + height] = light
    down = np.zeros((height, width + 2 * radius), np.float32)
    for i in range(height):
        row, middle = down[i, radius : radius + width], padded[i + radius]
        for j in range(width):
            row[j] = half[0] * middle[j]
        for t in range(1, radius + 1, 3):
            a, b, c = half[t], half[t + 1], half[t + 2]
            up_1, down_1 = padded[i + radius - t], padded[i + radius + t]
            up_2, down_2 = padded[i + radius - t - 1], padded[i + radius + t + 1]
            up_3, down_3 = padded[i + radius - t - 2], padded[i + radius + t + 2]
            for j in range(width):
                pairs = a * (up_1[j] + down_1[j]) + b * (up_2[j] + down_2[j])
                row[j] += pairs + c * (up_3[j] + down_3[j])
    for i in range(height):
        row, whole = out[i], down[i]
        for j in range(width):
            row[j] = half[0] * whole[j + radius]
        for t in range(1, radius + 1, 3):
            a, b, c = half[t], half[t + 1], half[t + 2]
            for j in range(width):
                k = j + radius
                pairs = a * (whole[k - t] + whole[k + t])
                pairs += b * (whole[k - t - 1] + whole[k + t + 1])
                row[j] += pairs + c * (whole[k - t - 2] + whole[k + t + 2])
