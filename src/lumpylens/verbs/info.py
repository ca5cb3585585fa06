"""What `lumpylens info` says: of the program, of a model, of images."""

from __future__ import annotations

import ast
import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.data.checks import same_scales
from lumpylens.data.classes import class_folders
from lumpylens.data.images import ANOMALOUS, NORMAL, UNKNOWN, LensImages
from lumpylens.detectors import DETECTORS, installed_detectors
from lumpylens.errors import DataError
from lumpylens.files.progress import counted
from lumpylens.files.tables import pandas_frame
from lumpylens.files.versions import installed_versions
from lumpylens.results.reasons import by_reason
from lumpylens.results.summary import Summary
from lumpylens.store.folder import load_model
from lumpylens.store.layout import CONFIG, list_models
from lumpylens.store.trained import TrainedModel

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Description", "info"]

SHOWN = 10
"""Failed images named one by one."""

PREDICATES = ("band", "noise")
"""Parts of an image whose origin is the rest of a sentence, and not where they come from."""


@dataclass(frozen=True, repr=False)
class Description(Summary):
    """What `info` found, for programs in `facts` and for people as text.

    Attributes
    ----------
    facts : dict
        ``kind`` is ``program``, ``model`` or ``images``, and says which others there are.
    """

    facts: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Return a fact by its name."""
        return self.facts[name]

    def __repr__(self) -> str:
        return "\n".join(sentences(self.facts))

    def to_dict(self) -> Mapping[str, Any]:
        """The facts."""
        return self.facts

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame`, one row per fact: its name, with dots for facts of facts, and value.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        rows = dict(_flat(self.facts))
        return pandas_frame({"fact": list(rows), "value": [str(value) for value in rows.values()]})


def info(
    what: str | Path | None = None,
    *,
    band: str | None = None,
    figure: str | Path | None = None,
    progress: bool = True,
) -> Description:
    """Describe a model, images, or the program itself.

    Parameters
    ----------
    what : str or Path, optional
        A model folder or file, the name of a shipped model, or anything `LensImages.open` reads.
        Default: the program.
    band : str, optional
        Which of the bands to take, where image files hold several.
    figure : str or Path, optional
        PNG file to draw the first four images into, as they are read.
    progress : bool
        Show a bar on standard error while images are read.

    Returns
    -------
    Description

    Raises
    ------
    DataError
        If there is nothing of that name, or `figure` is given for what is no images.
    ModelError
        If it is a damaged model.
    """
    path = Path(what or "")
    packed = path.is_file() and path.suffix == ".safetensors"
    is_model = str(what) in list_models() or (path / CONFIG).is_file() or packed
    if figure is not None and (what is None or is_model):
        raise DataError("a figure is drawn of images; name a file or folder of them")
    if what is None:
        return Description(_program())
    if is_model:
        return Description(_model(what))
    if not path.exists():
        shipped = ", ".join(list_models()) or "none"
        raise DataError(f"no file, folder or shipped model called {what} (shipped: {shipped})")
    return Description(_images(path, band, figure, progress))


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def sentences(facts: Mapping[str, Any]) -> list[str]:
    """Facts for a person to read, one string per line or paragraph."""
    if facts["kind"] == "model":
        return [facts["card"] or f"{facts['detector']} model without a card"]
    if facts["kind"] == "images":
        counts = [f"{facts[key]} {key}" for key in ("normal", "anomalous", "unlabelled")]
        shapes = [f"{count} of {shape} pixels" for shape, count in facts["shapes"].items()]
        with_parts = [
            f"{facts[key]} {text}"
            for key, text in (
                ("with_noise", "with a noise map"),
                ("with_psf", "with a PSF"),
                ("stretched", "8-bit pictures, not linear in flux"),
            )
            if facts[key]
        ]
        scales = [f'{scale:.6g}"/pixel' for scale in facts["pixel_scales_arcsec"]]
        layouts = [
            f"{layout['images']} of them: "
            + ", ".join(
                f"{part} {origin}" if part in PREDICATES else f"{part} from {origin}"
                for part, origin in layout["origins"].items()
            )
            for layout in facts["layouts"]
        ]
        failed = _failed(facts["failed"], facts["images"])
        folders = [f"{name} {count}" for name, count in list(facts["folders"].items())[:SHOWN]]
        return [
            f"{facts['images']} images in {facts['location']}: {', '.join(counts)}",
            ", ".join([*shapes, *with_parts, *scales]) or "none can be read",
            *layouts,
            *([f"by folder: {', '.join(folders)}"] if folders else []),
            *failed,
            *facts["remarks"],
            *(f"{count} of them: {text}" for text, count in facts["remarks_on_images"].items()),
            *([f"figure: {facts['figure']}"] if facts["figure"] else []),
        ]
    width = max(len(name) for name in facts["detectors"])
    return [
        f"lumpylens {facts['lumpylens']}",
        "",
        "detectors",
        *(f"  {name:<{width}}  {text}" for name, text in facts["detectors"].items()),
        "",
        f"models that come with it: {', '.join(facts['models']) or 'none'}",
        "versions: " + ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
    ]


def _failed(reasons: Mapping[str, str], count: int) -> list[str]:
    """Lines on images that cannot be used, by name; where these are all of `count`, by reason."""
    if len(reasons) == count > 1:
        return [
            f"none can be used: {by_reason(reasons.values())}; the first is {next(iter(reasons))}"
        ]
    remaining = len(reasons) - SHOWN
    return [
        *([f"{len(reasons)} cannot be used:"] if reasons else []),
        *(f"  {name}: {reason}" for name, reason in list(reasons.items())[:SHOWN]),
        *([f"  and {remaining} more"] if remaining > 0 else []),
    ]


def _program() -> dict[str, Any]:
    return {
        "kind": "program",
        "lumpylens": version("lumpylens"),
        "detectors": {
            **{name: _headline(at.partition(":")[0]) for name, at in DETECTORS.items()},
            **{name: _provider(point) for name, point in installed_detectors().items()},
        },
        "models": list_models(),
        "versions": installed_versions(),
    }


def _headline(module: str) -> str:
    """First line of a module's docstring, unread by Python: torch takes seconds to load."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return "not installed"
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]


def _provider(point: EntryPoint) -> str:
    """Module and class of another package's detector, without importing any of it."""
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.value}{package}"


def _model(name: str | Path) -> dict[str, Any]:
    model: TrainedModel = load_model(name)
    detector = model.detector
    return {
        "kind": "model",
        "detector": detector.name,
        "image_shape": detector.image_shape,
        "settings": detector.config.model_dump(mode="json"),
        "calibration_images": len(model.calibration),
        "smallest_p_value": model.calibration.smallest_p_value,
        "seen": {part: len(digests) for part, digests in model.seen.items()},
        "epochs": len(detector.history),
        "info": dict(model.info),
        "card": model.card,
    }


def _images(
    path: Path, band: str | None, figure: str | Path | None, progress: bool
) -> dict[str, Any]:
    images = LensImages.open(path, band=band)
    if figure is not None:
        from lumpylens.report.as_read import write_as_read

        write_as_read(images, Path(figure))
    counts = Counter(images.labels.tolist())
    shapes: Counter[str] = Counter()
    failed: dict[str, str] = {}
    remarks: Counter[str] = Counter()
    layouts: Counter[tuple[tuple[str, str], ...]] = Counter()
    scales: list[float] = []
    parts: Counter[str] = Counter()
    with counted("reading", len(images), show=progress) as step:
        for item in images:
            step()
            remarks.update(item.remarks)
            if item.error or item.image is None:
                failed[item.id] = item.error
                continue
            shapes["{}x{}".format(*item.image.shape)] += 1
            parts["noise"] += item.noise is not None
            parts["psf"] += item.psf is not None
            parts["stretched"] += item.stretched
            if item.origins:
                layouts[tuple(item.origins.items())] += 1
            scale = item.pixel_scale_arcsec
            if scale is not None and not any(same_scales(scale, listed) for listed in scales):
                scales.append(scale)
    return {
        "kind": "images",
        "location": images.location,
        "images": len(images),
        "normal": counts[NORMAL],
        "anomalous": counts[ANOMALOUS],
        "unlabelled": counts[UNKNOWN],
        "folders": class_folders(images),
        "shapes": dict(shapes),
        "with_noise": parts["noise"],
        "with_psf": parts["psf"],
        "stretched": parts["stretched"],
        "pixel_scales_arcsec": sorted(scales),
        "layouts": [
            {"images": count, "origins": dict(origins)} for origins, count in layouts.items()
        ],
        "failed": failed,
        "figure": None if figure is None else str(figure),
        "remarks": [text for source in images.sources for text in source.remarks],
        "remarks_on_images": dict(remarks),
    }
