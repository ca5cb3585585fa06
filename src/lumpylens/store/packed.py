"""A whole model in one safetensors file, which is easier to send than a folder.

The arrays are those of the folder; its two texts stand in the file's header, under ``config.toml``
and ``card.md``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lumpylens.errors import ModelError
from lumpylens.store.layout import CARD, CONFIG, MAX_TEXT_BYTES, MAX_WEIGHTS_BYTES, WEIGHTS

__all__ = ["packed", "unpacked"]


def packed(folder: Path) -> bytes:
    """Content of a file that `lumpylens.load_model` reads like the model's folder."""
    from safetensors.numpy import load, save

    texts = {name: (folder / name).read_text(encoding="utf-8") for name in (CONFIG, CARD)}
    return save(load((folder / WEIGHTS).read_bytes()), metadata=texts)


@contextmanager
def unpacked(file: Path) -> Iterator[Path]:
    """Give the folder that a packed model was made from, for as long as the block lasts.

    Raises
    ------
    ModelError
        If the file is damaged or holds no model. What is wrong within it is said of `file`,
        not of the folder.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load, save

    try:
        size = file.stat().st_size
        if size > MAX_WEIGHTS_BYTES + 2 * MAX_TEXT_BYTES:
            raise ModelError(f"{file} has {size} bytes, more than any model's")
        with safe_open(file, "np") as opened:
            texts = opened.metadata() or {}
        arrays = load(file.read_bytes())
    except OSError as problem:
        raise ModelError(f"cannot read {file}: {problem.strerror or problem}") from None
    except (SafetensorError, KeyError, ValueError, TypeError) as problem:
        raise ModelError(f"{file} is damaged: {' '.join(str(problem).split())[:200]}") from None
    if not {CONFIG, CARD} <= set(texts):
        raise ModelError(
            f"{file} holds arrays but no settings; give the model's folder, or a file that "
            "lumpylens export wrote"
        )
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        folder.mkdir()
        (folder / WEIGHTS).write_bytes(save(arrays))
        for name in (CONFIG, CARD):
            (folder / name).write_text(texts[name], encoding="utf-8")
        try:
            yield folder
        except ModelError as problem:
            raise ModelError(str(problem).replace(str(folder), str(file))) from problem
