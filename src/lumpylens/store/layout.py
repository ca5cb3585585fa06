"""Names and limits of the files that a model consists of, and where models are found."""

from __future__ import annotations

from pathlib import Path

from lumpylens.errors import ModelError
from lumpylens.files.writing import check_only

__all__ = [
    "CARD",
    "CONFIG",
    "FORMAT",
    "MAX_TEXT_BYTES",
    "MAX_WEIGHTS_BYTES",
    "SHIPPED",
    "WEIGHTS",
    "check_place",
    "find_model",
    "list_models",
]

FORMAT = 1
"""Version of the layout of model folders."""

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.toml", "card.md"
SHIPPED = Path(__file__).parents[1] / "models"

MAX_WEIGHTS_BYTES = 4 * 2**30
"""Twenty times the largest published architecture here; more is a mistake or an attack."""

MAX_TEXT_BYTES = 8 * 2**20
"""The same for card and settings, of which the longest that ships has 8 kB."""


def list_models() -> list[str]:
    """Names of the models that come with the package."""
    if not SHIPPED.is_dir():
        return []
    return sorted(entry.name for entry in SHIPPED.iterdir() if (entry / CONFIG).is_file())


def find_model(model: str | Path) -> Path:
    """Folder or packed file of a model, given by its path or by the name of a shipped one.

    Raises
    ------
    ModelError
        If there is none.
    """
    folder = Path(model)
    if folder.is_dir() or (folder.is_file() and folder.suffix == ".safetensors"):
        return folder
    names = list_models()
    # Names are compared, never joined to a path, so that no name leads out of the package.
    if str(model) in names:
        return SHIPPED / str(model)
    shipped = f"models that come with lumpylens: {', '.join(names)}" if names else ""
    if folder.exists():
        raise ModelError(f"{folder} is a file; give the model's folder")
    raise ModelError(f"no model folder {model}" + (f" ({shipped})" if shipped else ""))


def check_place(folder: str | Path) -> None:
    """Refuse a place for a model before the work of making it.

    Raises
    ------
    DataError
        If `folder` is a file or holds files that are not a model's.
    """
    files = {WEIGHTS, CONFIG, CARD}
    check_only(Path(folder), made_by_us=CONFIG, files=files, product="a model")
