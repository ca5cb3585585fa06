"""Simulated images in files, written in parts, so that a run that was stopped can be continued."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lumpylens.data.image import NORMAL, LensImage
from lumpylens.data.images import LensImages
from lumpylens.data.npz import write_npz
from lumpylens.errors import DataError
from lumpylens.files.digests import digest_of
from lumpylens.files.processes import in_processes
from lumpylens.files.progress import counted
from lumpylens.files.receipts import read_receipt, write_receipt
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.physics.batches import unsplit
from lumpylens.simulation.camera import develop, jpeg_content
from lumpylens.simulation.recipe import Recipe
from lumpylens.simulation.roman_output import system_name, write_challenge
from lumpylens.simulation.truth import truth_table

__all__ = ["FORMATS", "check_output", "write"]

FILES = {
    "hdf5": (".h5", ".hdf5"),
    "roman": (".h5", ".hdf5"),
    "npz": (".npz",),
    "npy": (".npy",),
}
"""Formats of one file, and its endings; of those that share one, the first is the default."""
FOLDERS = {"fits": ".fits", "jpeg": ".jpg", "png": ".png"}
FORMATS = (*FILES, *FOLDERS)

IMAGES_PER_PART = 100
"""Images per part: about a second of work, which is lost when a run is stopped."""


@dataclass(frozen=True)
class OutputPart:
    """Images of one part, and the file they are written to."""

    recipe: Recipe
    indices: tuple[int, ...]
    format: str
    place: Path


def check_output(out: str | Path, format: str | None = None) -> tuple[Path, str]:
    """Check path and format before anything is simulated, and return both.

    Parameters
    ----------
    out : str or Path
        A file that ends in ``.h5``, ``.npz`` or ``.npy``, or a folder.
    format : str, optional
        One of `FORMATS`; by default the file's ending says it.

    Raises
    ------
    DataError
        If place and format do not go together, or nothing can be written there.
    """
    place = Path(out)
    if format is not None and format not in FORMATS:
        raise DataError(f"format is one of {', '.join(FORMATS)}; got {format!r}")
    suffix = place.suffix.lower()
    by_suffix = next((name for name, endings in FILES.items() if suffix in endings), None)
    if format is None and by_suffix is None:
        endings = dict.fromkeys(ending for every in FILES.values() for ending in every)
        raise DataError(
            f"{place} says no format: end it in {', '.join(endings)}, or give "
            f"{' or '.join(FOLDERS)} for a folder of files"
        )
    chosen = format or str(by_suffix)
    if chosen in FILES and suffix not in FILES[chosen]:
        raise DataError(
            f"a file of format {chosen} ends in {' or '.join(FILES[chosen])}, not {place}"
        )
    if chosen in FOLDERS:
        if place.exists() and not place.is_dir():
            raise DataError(f"{place} is a file; format {chosen} needs a folder")
    elif place.is_dir():
        raise DataError(f"{place} is a folder; format {chosen} is one file")
    check_writable(place)
    return place, chosen


def write(
    recipe: Recipe,
    indices: Sequence[int],
    out: str | Path,
    *,
    format: str | None = None,
    workers: int = 1,
    progress: bool = False,
) -> LensImages:
    """Simulate images and write them, with a table of their true numbers.

    A file ``lenses.h5`` has its table in ``lenses.truth.ecsv``. In a folder the images are in
    ``no_sub`` or ``sub``, with the table beside that folder. The finished parts of a run that was
    stopped are in a hidden folder beside `out`, and the same call continues from there.

    Parameters
    ----------
    recipe : Recipe
    indices : sequence of int
    out, format
        See `check_output`.
    workers : int
        Processes.
    progress : bool

    Raises
    ------
    DataError
        If `out` or its hidden folder holds something else.
    """
    place, kind = check_output(out, format)
    if kind == "roman" and recipe.population.output != "linear":
        raise DataError(
            f"the population {recipe.population.name} makes pictures, and the format roman holds "
            "brightness; give another format"
        )
    inside = "no_sub" if recipe.label == NORMAL else "sub"
    if kind in FOLDERS and (place / inside).exists() and any((place / inside).iterdir()):
        raise DataError(f"{place / inside} holds files already; give another folder")
    beside = place.resolve().with_name(f".{place.name}.{inside}.parts")
    note, mark = beside / "run.json", {"run": _identity(recipe, indices, kind)}
    if not beside.exists():
        write_receipt(mark, note)
    elif read_receipt(note, mark) is None:
        raise DataError(
            f"{beside} holds a stopped run of other images for {place}: repeat that one, or "
            "remove the folder"
        )
    parts = [
        tuple(indices[k : k + IMAGES_PER_PART]) for k in range(0, len(indices), IMAGES_PER_PART)
    ]
    tasks = [
        OutputPart(recipe, part, kind, beside / f"{number:06d}.npz")
        for number, part in enumerate(parts)
    ]
    left = [task for task in tasks if not task.place.exists()]
    with unsplit(), counted("simulating", len(indices), show=progress) as step:
        for _ in range(len(indices) - sum(len(task.indices) for task in left)):
            step()
        with in_processes(_make, left, workers) as parts_done:
            for _, images_done in parts_done:
                for _ in range(images_done):
                    step()
    names = [system_name(index) if kind == "roman" else recipe.name(index) for index in indices]
    table = truth_table(
        names, [recipe.label] * len(names), map(recipe.lens, indices), recipe.galaxies()
    )
    if kind in FOLDERS:
        place.mkdir(parents=True, exist_ok=True)
        (beside / "images").rename(place / inside)
        beside_table = place / f"{inside}.truth.ecsv"
    else:
        _join(tasks, names, kind, place)
        beside_table = place.with_name(f"{place.stem}.truth.ecsv")
    with whole_file(beside_table) as path:
        table.write(path, format="ascii.ecsv", overwrite=True)
    shutil.rmtree(beside)
    return LensImages.open(place / inside if kind in FOLDERS else place)


def _identity(recipe: Recipe, indices: Sequence[int], kind: str) -> str:
    """Everything that decides what the files hold."""
    settings = (recipe.population, recipe.substructure, recipe.seed, recipe.sources)
    content = repr((*settings, list(indices), kind, version("lumpylens")))
    return digest_of(content)


def _make(task: OutputPart) -> int:
    """Simulate one part and write it; its last file shows that it is complete."""
    recipe, population = task.recipe, task.recipe.population
    if task.format in FOLDERS:
        folder = task.place.parent / "images"
        folder.mkdir(exist_ok=True)
        for index, lens, exposure in recipe.exposures(task.indices):
            name = recipe.name(index)
            with whole_file(folder / f"{name}{FOLDERS[task.format]}") as path:
                if task.format == "jpeg":
                    path.write_bytes(jpeg_content(exposure, population.jpeg_quality))
                    continue
                image = develop(exposure, lens, population, name, recipe.label)
                if task.format == "fits":
                    _write_fits(path, image, recipe, index)
                else:
                    _write_png(path, image)
        with whole_file(task.place) as path, path.open("wb") as stream:
            np.savez(stream, indices=np.array(task.indices))
        return len(task.indices)
    images = [image for image, _ in recipe.images(task.indices)]
    arrays: dict[str, Any] = {"images": np.stack([_stored(image) for image in images])}
    if images[0].noise is not None:
        arrays["noise"] = np.array([image.noise for image in images])
    if images[0].psf is not None:
        kernels = np.array([image.psf for image in images])
        arrays["psf"] = kernels[:1] if (kernels == kernels[0]).all() else kernels
    if images[0].jpeg_table is not None:
        arrays["jpeg_table"] = images[0].jpeg_table
    with whole_file(task.place) as path, path.open("wb") as stream:
        np.savez(stream, **arrays)
    return len(task.indices)


def _stored(image: LensImage) -> Any:
    assert image.image is not None  # an image without pixels was refused when it was made
    return image.image.astype(np.uint8) if image.stretched else image.image


def _write_fits(path: Path, image: LensImage, recipe: Recipe, index: int) -> None:
    """Write image, noise map and point-spread function into one file."""
    from astropy.io import fits

    population = recipe.population
    header = fits.Header()
    header["OBJECT"] = image.id
    header["PRESET"] = population.name
    header["SEED"], header["INDEX"] = recipe.seed, index
    header["SUBSTRUC"] = (recipe.substructure is not None, "substructure beside the halo")
    if image.pixel_scale_arcsec is not None:
        header["PIXSCALE"] = (image.pixel_scale_arcsec, "arcsec per pixel")
    if population.zero_point is not None:
        header["ZEROPNT"] = (population.zero_point, "magnitude of one electron per second")
        header["BUNIT"] = "electron/s"
    lens = recipe.lens(index)
    if not math.isnan(lens.photons):
        header["EXPTIME"] = (lens.photons, "photons per unit of brightness")
    hdus = [fits.PrimaryHDU(_stored(image), header)]
    for name, plane in (("NOISE", image.noise), ("PSF", image.psf)):
        if plane is not None:
            hdus.append(fits.ImageHDU(plane, name=name))
    fits.HDUList(hdus).writeto(path, overwrite=True)


def _write_png(path: Path, image: LensImage) -> None:
    """Write 8 bits; linear brightness is stretched from the darkest to the brightest pixel."""
    pixels = _stored(image)
    if not image.stretched:
        low, high = pixels.min(), pixels.max()
        pixels = np.rint(255 * (pixels - low) / (high - low)).astype(np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def _join(tasks: Sequence[OutputPart], names: Sequence[str], kind: str, place: Path) -> None:
    """Join the parts into one file."""
    label = tasks[0].recipe.label
    scale = tasks[0].recipe.population.pixel_scale_arcsec
    with whole_file(place) as path:
        if kind == "npz":
            _join_npz(tasks, names, label, scale, path)
        elif kind == "npy":
            _join_npy(tasks, len(names), path)
        elif kind == "roman":
            write_challenge(_systems(tasks), tasks[0].recipe, path)
        else:
            _join_hdf5(tasks, names, label, scale, path)


def _parts(tasks: Sequence[OutputPart]) -> Iterator[tuple[int, dict[str, Any]]]:
    """First position and arrays of each part, in order."""
    first = 0
    for task in tasks:
        with np.load(task.place, allow_pickle=False) as archive:
            yield first, {name: archive[name] for name in archive.files}
        first += len(task.indices)


def _systems(tasks: Sequence[OutputPart]) -> Iterator[tuple[int, Any, Any]]:
    """Index, pixels and point-spread function of each image, in order."""
    for task, (_, arrays) in zip(tasks, _parts(tasks), strict=True):
        kernels = arrays["psf"]
        for place, index in enumerate(task.indices):
            yield index, arrays["images"][place], kernels[place % len(kernels)]


def _join_npz(
    tasks: Sequence[OutputPart], names: Sequence[str], label: int, scale: float | None, path: Path
) -> None:
    gathered: dict[str, list[Any]] = {}
    for _, arrays in _parts(tasks):
        count = len(arrays["images"])
        if len(arrays.get("psf", ())) == 1:
            arrays["psf"] = np.repeat(arrays["psf"], count, axis=0)
        for name, values in arrays.items():
            gathered.setdefault(name, []).append(values)
    table = gathered.pop("jpeg_table", [None])[0]
    joined = {name: np.concatenate(parts) for name, parts in gathered.items()}
    stretched = joined["images"].dtype == np.uint8
    images = LensImages.from_arrays(
        joined.pop("images"),
        ids=names,
        labels=[label] * len(names),
        jpeg_table=table,
        stretched=stretched,
        pixel_scale_arcsec=scale,
        **joined,
    )
    write_npz(images, path)


def _join_npy(tasks: Sequence[OutputPart], count: int, path: Path) -> None:
    stack = None
    for first, arrays in _parts(tasks):
        images = arrays["images"]
        if stack is None:
            shape = (count, *images.shape[1:])
            stack = np.lib.format.open_memmap(path, "w+", images.dtype, shape)
        stack[first : first + len(images)] = images
    assert stack is not None  # there is no run without an image
    stack.flush()


def _join_hdf5(
    tasks: Sequence[OutputPart], names: Sequence[str], label: int, scale: float | None, path: Path
) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["ids"] = np.array(names, dtype=h5py.string_dtype())
        file["labels"] = np.full(len(names), label)
        if scale is not None:
            file.attrs["pixel_scale_arcsec"] = scale
        for first, arrays in _parts(tasks):
            count = len(arrays["images"])
            if "jpeg_table" in arrays and "jpeg_table" not in file:
                file["jpeg_table"] = arrays["jpeg_table"]
            for name in ("images", "noise", "psf"):
                values = arrays.get(name)
                if values is None:
                    continue
                if name not in file:
                    # 8-bit pictures shrink to a sixth; noise does not shrink.
                    packing = {"compression": "gzip"} if values.dtype == np.uint8 else {}
                    shape = (len(names), *values.shape[1:])
                    chunk = (min(16, len(names)), *values.shape[1:])
                    file.create_dataset(name, shape, values.dtype, chunks=chunk, **packing)
                file[name][first : first + count] = values
