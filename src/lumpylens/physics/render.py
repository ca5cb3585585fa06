"""Rendering: from the parameters of a smooth lens to its image and the image's derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from lumpylens.physics.batches import is_compiled, per_lens
from lumpylens.physics.compiled.detail import any_source_tangents
from lumpylens.physics.compiled.elementary import Image
from lumpylens.physics.compiled.tangents import (
    LENS_COLUMNS,
    SOURCE_COLUMNS,
    Grid,
    lens_tangents,
)
from lumpylens.physics.deflection import external_shear, halo, halo_slopes
from lumpylens.physics.light import sersic, sersic_with_derivatives
from lumpylens.physics.parameters import COUNT, NAMES
from lumpylens.physics.source_detail import detail_light, is_shapelet

__all__ = ["Light", "Scene", "Tangents"]

Deflection = tuple[Tensor, Tensor]
Moves = dict[str, Callable[[], Tensor | None]]
"""Derivatives by parameter, computed when they are asked for."""

LENS, SOURCE = frozenset(LENS_COLUMNS), frozenset(SOURCE_COLUMNS)
"""Parameters that the light of lens and source depend on."""

HALO = ("mass_eta_1", "mass_eta_2", "centre_x_px", "centre_y_px")
"""Parameters on which the halo's deflection depends besides its Einstein radius."""


@dataclass(frozen=True)
class Light:
    """Unblurred light of unit amplitude, shape (n, h, w) each."""

    lens: Tensor
    source: Tensor


@dataclass(frozen=True)
class Tangents:
    """Unblurred light and its derivatives.

    Attributes
    ----------
    lens, source : Tensor, shape (n, 1 + k, h, w)
        Light of unit amplitude, then its derivatives with respect to `lens_names` or
        `source_names`.
    lens_names, source_names : tuple of str
        Parameters that each of them depends on.
    source_gradient : Tensor, shape (n, 2, h, w)
        Gradient of the source's brightness at the point each ray comes from.
    """

    lens: Tensor
    source: Tensor
    lens_names: tuple[str, ...]
    source_names: tuple[str, ...]
    source_gradient: Tensor


@dataclass(frozen=True)
class Scene:
    """A grid of pixels, and the rendering of smooth lenses on it.

    Parameters
    ----------
    height, width : int
        Pixels rendered.
    offset_x, offset_y : float
        Position of the grid's centre relative to the image's, in pixels of the image.
    pixel : float
        Side of a rendered pixel in pixels of the image.
    cusp_samples : int
        Sub-pixels per axis over which the lens light is averaged near its centre.
    cusp_radius : int
        Half-width of the patch that is sub-sampled, in rendered pixels.
    cusp_pitch : float, optional
        Distance between neighbouring sub-pixels in rendered pixels. Default: evenly over the
        pixel.
    """

    height: int
    width: int
    offset_x: float = 0.0
    offset_y: float = 0.0
    pixel: float = 1.0
    cusp_samples: int = 4
    cusp_radius: int = 8
    cusp_pitch: float | None = None
    _grids: dict[tuple[torch.dtype, str], tuple[Tensor, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def grid(self, like: Tensor) -> Deflection:
        """Positions x and y of the pixel centres, shape (1, h, w), in pixels."""
        key = (like.dtype, str(like.device))
        if key not in self._grids:
            x = torch.arange(self.width, dtype=torch.float64, device="cpu") - (self.width - 1) / 2
            y = torch.arange(self.height, dtype=torch.float64, device="cpu") - (self.height - 1) / 2
            grid_y, grid_x = torch.meshgrid(
                y * self.pixel + self.offset_y, x * self.pixel + self.offset_x, indexing="ij"
            )
            self._grids[key] = (grid_x[None].to(like), grid_y[None].to(like))
        return self._grids[key]

    @property
    def sampling_variance(self) -> float:
        """Variance, in px^2, of the positions over which a pixel averages when sub-sampled."""
        return (self.pixel * self.pitch) ** 2 * (self.cusp_samples**2 - 1) / 12

    @property
    def pitch(self) -> float:
        """Distance between neighbouring sub-pixels in rendered pixels."""
        return 1 / self.cusp_samples if self.cusp_pitch is None else self.cusp_pitch

    def rays(
        self, parameters: Tensor, extra: Deflection | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Trace rays: source-plane positions relative to the source, and the halo's deflection.

        Parameters
        ----------
        parameters : Tensor, shape (n, COUNT)
        extra : pair of Tensor, shape (n, h, w), optional
            Deflection of other masses.

        Returns
        -------
        u, v, alpha_x, alpha_y : Tensor, shape (n, h, w)
        """
        x, y = self.grid(parameters)
        p = columns(parameters)
        x, y = x - p["centre_x_px"], y - p["centre_y_px"]
        radius = per_lens(torch.exp, p["log_einstein_radius_px"])
        ax, ay = self._halo(x, y, p, radius)
        gx, gy = external_shear(x, y, p["shear_1"], p["shear_2"])
        u = x - ax - gx - radius * p["source_x"]
        v = y - ay - gy - radius * p["source_y"]
        if extra is not None:
            u, v = u - extra[0], v - extra[1]
        return u, v, ax, ay

    def _halo(
        self, x: Tensor, y: Tensor, p: dict[str, Tensor], radius: Tensor
    ) -> tuple[Tensor, Tensor]:
        if not (p["mass_eta_1"].any() or p["mass_eta_2"].any()):
            scale = radius * torch.rsqrt(x.square() + y.square() + 1e-12)
            return x * scale, y * scale
        ax, ay = halo(x, y, p["mass_eta_1"], p["mass_eta_2"])
        return radius * ax, radius * ay

    def light(self, parameters: Tensor, extra: Deflection | None = None) -> Light:
        """Render light of unit amplitude.

        Parameters
        ----------
        parameters : Tensor, shape (n, COUNT)
        extra : pair of Tensor, shape (n, h, w), optional
            Deflection of perturbers.
        """
        if extra is None and is_compiled(parameters):
            made = self.tangents(parameters, ())
            return Light(made.lens[:, 0], made.source[:, 0])
        p = columns(parameters)
        u, v, _, _ = self.rays(parameters, extra)
        source = sersic(u, v, *_source_shape(p))
        if parameters.shape[1] > COUNT:
            source = source + detail_light(parameters, u, v).value
        x, y = self.grid(parameters)
        lens = sersic(x - p["centre_x_px"], y - p["centre_y_px"], *_lens_shape(p))
        if self.cusp_samples > 1:
            rows, cols, sub_x, sub_y = self._cusp(parameters)
            fine = sersic(sub_x - p["centre_x_px"], sub_y - p["centre_y_px"], *_lens_shape(p))
            lens[:, rows, cols] = self._average(fine)
        return Light(lens, source)

    def tangents(self, parameters: Tensor, names: Sequence[str]) -> Tangents:
        """Render light and its derivatives with respect to the parameters called `names`.

        The derivative with respect to ``log_psf_sigma_px`` is left to the caller. Single precision
        on the processor is computed by `lumpylens.physics.compiled.tangents`, to the same formulas.
        """
        lens_names = tuple(name for name in names if name in LENS)
        source_names = (*(n for n in names if n in SOURCE), *(n for n in names if is_shapelet(n)))
        if is_compiled(parameters):
            numbers = parameters.double().numpy()
            lights = lens_tangents(self.pixels, numbers, lens_names)
            sources = any_source_tangents(self.pixels, numbers, source_names)
            (lens,) = _copied((light,) for light in lights)
            source, slopes = _copied(sources)
        else:
            lens = self._lens_tangents(parameters, lens_names)
            source, slopes = self._source_tangents(parameters, source_names)
        return Tangents(lens, source, lens_names, source_names, slopes)

    @cached_property
    def pixels(self) -> Grid:
        """The grid as compiled code takes it."""
        rows, columns = self.cusp_patch()
        return Grid(
            self.height,
            self.width,
            self.offset_x - (self.width - 1) / 2 * self.pixel,
            self.offset_y - (self.height - 1) / 2 * self.pixel,
            self.pixel,
            self.cusp_samples,
            self.pitch,
            (rows.start, rows.stop, columns.start, columns.stop),
        )

    def _source_tangents(self, parameters: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        p = columns(parameters)
        radius = per_lens(torch.exp, p["log_einstein_radius_px"])
        u, v, ax, ay = self.rays(parameters)
        shape = sersic_with_derivatives(
            u, v, *_source_shape(p), index_too="log_source_index" in names
        )
        value, sx, sy = shape.value, shape.gradient_x, shape.gradient_y
        d_log_r, of_shapelets = shape.d_log_r, {}
        if parameters.shape[1] > COUNT:
            detail = detail_light(parameters, u, v)
            value, sx, sy = value + detail.value, sx + detail.gradient_x, sy + detail.gradient_y
            d_log_r = d_log_r + u * detail.gradient_x + v * detail.gradient_y
            wanted = [name for name in names if is_shapelet(name)]
            of_shapelets = dict(zip(wanted, detail.columns.unbind(dim=1), strict=bool(wanted)))
        x, y = self.grid(parameters)
        x, y = x - p["centre_x_px"], y - p["centre_y_px"]
        moves: Moves = {
            "log_einstein_radius_px": lambda: (
                -(sx * (ax + radius * p["source_x"]) + sy * (ay + radius * p["source_y"]))
            ),
            "shear_1": lambda: sy * y - sx * x,
            "shear_2": lambda: -(sx * y + sy * x),
            "source_x": lambda: -radius * sx,
            "source_y": lambda: -radius * sy,
            "source_eta_1": lambda: shape.d_eta_1,
            "source_eta_2": lambda: shape.d_eta_2,
            "log_source_radius_px": lambda: -d_log_r,
            "log_source_index": lambda: shape.d_log_index,
        } | self._mass_moves(p, names, (x, y), (ax, ay), (sx, sy))
        for name, column in of_shapelets.items():
            moves[name] = partial(_same, column)
        return _stacked(value, moves, names), torch.stack([sx, sy], dim=1)

    def _mass_moves(
        self,
        p: dict[str, Tensor],
        names: Sequence[str],
        position: Deflection,
        deflection: Deflection,
        gradient: Deflection,
    ) -> Moves:
        """Derivatives of the source's light with respect to the halo's shape and centre.

        Parameters
        ----------
        position, deflection, gradient : pair of Tensor, shape (n, h, w)
            Relative to the centre; of the halo; of the source's light where the rays end.
        """
        if set(names).isdisjoint(HALO):
            return {}
        radius = per_lens(torch.exp, p["log_einstein_radius_px"])
        unit = (deflection[0] / radius, deflection[1] / radius)
        slopes = halo_slopes(*position, p["mass_eta_1"], p["mass_eta_2"], unit)
        (ax_1, ay_1), (ax_2, ay_2) = slopes.d_eta_1, slopes.d_eta_2
        sx, sy = gradient
        cross = radius * slopes.xy + p["shear_2"]
        return {
            "mass_eta_1": lambda: -radius * (sx * ax_1 + sy * ay_1),
            "mass_eta_2": lambda: -radius * (sx * ax_2 + sy * ay_2),
            "centre_x_px": lambda: sx * (radius * slopes.xx + p["shear_1"] - 1) + sy * cross,
            "centre_y_px": lambda: sx * cross + sy * (radius * slopes.yy - p["shear_1"] - 1),
        }

    def _lens_tangents(self, parameters: Tensor, names: Sequence[str]) -> Tensor:
        p = columns(parameters)
        x, y = self.grid(parameters)
        light = _lens_derivatives(p, x, y, names)
        if self.cusp_samples > 1:
            rows, cols, sub_x, sub_y = self._cusp(parameters)
            fine = _lens_derivatives(p, sub_x, sub_y, names)
            light[:, :, rows, cols] = self._average(fine)
        return light

    def cusp_patch(self) -> tuple[slice, slice]:
        """Rows and columns that are sub-sampled."""
        mid_row = round((self.height - 1) / 2 - self.offset_y / self.pixel)
        mid_col = round((self.width - 1) / 2 - self.offset_x / self.pixel)
        return (
            slice(max(mid_row - self.cusp_radius, 0), mid_row + self.cusp_radius),
            slice(max(mid_col - self.cusp_radius, 0), mid_col + self.cusp_radius),
        )

    def _cusp(self, like: Tensor) -> tuple[slice, slice, Tensor, Tensor]:
        """Rows and columns of the patch around the image's centre, and its sub-pixel positions."""
        s = self.cusp_samples
        rows, cols = self.cusp_patch()
        x, y = self.grid(like)
        step = (
            (torch.arange(s, dtype=torch.float64, device="cpu") - (s - 1) / 2)
            * self.pitch
            * self.pixel
        )
        step = step.to(like)
        near_x, near_y = x[0, 0, cols], y[0, rows, 0]
        fine_x = (near_x[:, None] + step).reshape(1, 1, -1)
        fine_y = (near_y[:, None] + step).reshape(1, -1, 1)
        shape = (1, fine_y.shape[1], fine_x.shape[2])
        return rows, cols, fine_x.expand(shape), fine_y.expand(shape)

    def _average(self, fine: Tensor) -> Tensor:
        """Means of the sub-pixels of each pixel of the patch; leading axes stay."""
        s = self.cusp_samples
        height, width = fine.shape[-2] // s, fine.shape[-1] // s
        blocks = fine.reshape(*fine.shape[:-2], height, s, width, s)
        return blocks.mean(dim=(-3, -1))


def _copied(of_lenses: Iterable[tuple[Image, ...]]) -> list[Tensor]:
    """Put what is computed in the same memory for each lens into one tensor of all lenses."""
    copies = ([image.copy() for image in images] for images in of_lenses)
    return [torch.from_numpy(np.stack(images)) for images in zip(*copies, strict=True)]


def columns(parameters: Tensor) -> dict[str, Tensor]:
    """Named parameters, each of shape (n, 1, 1) to broadcast over images."""
    return {name: parameters[:, i, None, None] for i, name in enumerate(NAMES)}


def _lens_derivatives(p: dict[str, Tensor], x: Tensor, y: Tensor, names: Sequence[str]) -> Tensor:
    """Light of lens galaxies and its derivatives, shape (n, 1 + len(names), h, w)."""
    shape = sersic_with_derivatives(
        x - p["centre_x_px"],
        y - p["centre_y_px"],
        *_lens_shape(p),
        index_too="log_lens_light_index" in names,
    )
    moves: Moves = {
        "lens_light_eta_1": lambda: shape.d_eta_1,
        "lens_light_eta_2": lambda: shape.d_eta_2,
        "log_lens_light_radius_px": lambda: -shape.d_log_r,
        "log_lens_light_index": lambda: shape.d_log_index,
        "centre_x_px": lambda: -shape.gradient_x,
        "centre_y_px": lambda: -shape.gradient_y,
    }
    return _stacked(shape.value, moves, names)


def _same(column: Tensor) -> Tensor:
    return column


def _stacked(light: Tensor, moves: Moves, names: Sequence[str]) -> Tensor:
    derivatives = (moves[name]() for name in names)
    return torch.stack([light, *(part for part in derivatives if part is not None)], dim=1)


def _source_shape(p: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        p["source_eta_1"],
        p["source_eta_2"],
        p["log_source_radius_px"],
        p["log_source_index"],
    )


def _lens_shape(p: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        p["lens_light_eta_1"],
        p["lens_light_eta_2"],
        p["log_lens_light_radius_px"],
        p["log_lens_light_index"],
    )
