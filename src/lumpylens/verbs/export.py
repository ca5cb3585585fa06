"""A trained model as one file for other programs.

``safetensors``
    The whole model; `lumpylens.load_model` reads it like the folder it came from, and any
    safetensors reader its arrays.
``pt2``
    The way from pixels to scores as a graph that `torch.export.load` runs.
``onnx``
    The same for ONNX runtimes.

The last two take pixels, float32 of shape (n, H, W) on any linear scale, and give the scores, of
shape (n,). They hold numbers and a graph of known operations, and nothing that is pickled.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.errors import ModelError
from lumpylens.files.extras import pip_install
from lumpylens.files.writing import check_writable, whole_file
from lumpylens.store.folder import load_model, save_model
from lumpylens.store.packed import packed
from lumpylens.store.trained import TrainedModel

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["FORMATS", "export"]

FORMATS = ("safetensors", "pt2", "onnx")
ABOUT = "lumpylens.json"
"""Name under which a file says what it is."""
PICKLE_MARKS = (b"PK\x03\x04", b"\x80")
"""First bytes of what torch pickles: an archive of its own, or the bare protocol."""


def export(
    model: TrainedModel | str | Path,
    *,
    out: str | Path | None = None,
    format: str | None = None,
) -> Path:
    """Write a trained model as one file.

    Parameters
    ----------
    model : TrainedModel, str or Path
        A model, its folder, or the name of one that comes with the package.
    out : str or Path, optional
        File to write. Default: the model's name with the format as its ending.
    format : {"safetensors", "pt2", "onnx"}, optional
        Default: the ending of `out`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If the file cannot be written.
    ModelError
        If the model cannot be loaded, its detector has no such form, the format does not
        exist, or a package is missing.

    Notes
    -----
    Of `physics` the last two formats hold the fast score, its encoder's: fitting an image takes
    as many steps as that image needs, which is no graph of fixed operations.
    """
    place, kind = _place(model, out, format)
    check_writable(place)
    if kind == "onnx":
        _require_onnx()
    trained = load_model(model)
    if kind == "safetensors":
        with tempfile.TemporaryDirectory() as work:
            content = packed(save_model(trained, Path(work) / "model"))
    else:
        if trained.detector.fast() is not None:
            trained = trained.fast()
        module, example = _scorer(trained)
        description = json.dumps(_description(trained))
        content = (_pt2 if kind == "pt2" else _onnx)(module, example, description)
    with whole_file(place) as part_file:
        part_file.write_bytes(content)
    return place


def _place(
    model: TrainedModel | str | Path, out: str | Path | None, format: str | None
) -> tuple[Path, str]:
    """The file to write and its format, where one of them may follow from the other."""
    kind = format or (Path(out).suffix[1:].lower() if out is not None else "")
    if kind not in FORMATS:
        problem = f"no format called {kind!r}" if kind else "no format is given"
        raise ModelError(
            f"{problem}; give format, or a file that ends in one of: {', '.join(FORMATS)}"
        )
    if out is None:
        name = Path(model).resolve().name if isinstance(model, (str, Path)) else "model"
        return Path(f"{name.removesuffix('.safetensors')}.{kind}"), kind
    return Path(out), kind


def _scorer(trained: TrainedModel) -> tuple[nn.Module, Tensor]:
    """Module from pixels to scores, and two images to trace it with."""
    import torch

    assert trained.detector.image_shape is not None
    # A copy: what is exported lies on the CPU, whatever device the detector is on.
    module = copy.deepcopy(trained.detector.scorer()).cpu().eval()
    module.requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        # Each with memory of its own: weights from a file are parts of one block.
        tensor.data = tensor.clone(memory_format=torch.contiguous_format)
    height, width = trained.detector.image_shape
    return module, torch.linspace(0, 1, 2 * height * width).reshape(2, height, width)


def _description(trained: TrainedModel) -> dict[str, Any]:
    """Description that a program needs beside the graph."""
    height, width = trained.detector.image_shape or (0, 0)
    return {
        "lumpylens": version("lumpylens"),
        "detector": trained.detector.name,
        "input": f"pixels, float32, (n, {height}, {width}), any linear scale",
        "output": "anomaly_score, (n,), higher is more anomalous",
        "calibration_scores": trained.calibration.scores.tolist(),
        "p_value": "(1 + number of calibration_scores >= anomaly_score) / (1 + their number)",
    }


def _pt2(module: nn.Module, example: Tensor, description: str) -> bytes:
    import torch

    count = torch.export.Dim("n", min=1)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: count},))
    # Examples are stored pickled, and of each operation the source line, with its path.
    program.example_inputs = None
    for node in program.graph.nodes:
        for note in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
            node.meta.pop(note, None)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={ABOUT: description})
    _refuse_pickles(content)
    return content.getvalue()


def _refuse_pickles(content: io.BytesIO) -> None:
    """Older releases of torch pickle the weights."""
    import torch

    with zipfile.ZipFile(content) as archive:
        for name in archive.namelist():
            # A tensor's raw bytes may begin like anything.
            raw = name.rpartition("/")[2].startswith(("weight_", "tensor_"))
            if not raw and archive.read(name).startswith(PICKLE_MARKS):
                raise ModelError(
                    f"torch {torch.__version__} writes pickled parts into pt2 files ({name}); "
                    "upgrade torch, or export to onnx"
                )


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as problem:
        raise ModelError(f"exporting to ONNX needs {problem.name}: {pip_install('onnx')}") from None


def _onnx(module: nn.Module, example: Tensor, description: str) -> bytes:
    import torch

    with _quiet():
        exported = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: "n"},),
            input_names=["pixels"],
            output_names=["anomaly_score"],
            verbose=False,
        )
    assert exported is not None
    graph = exported.model_proto
    # Each operation carries the lines of Python that it came from.
    for node in graph.graph.node:
        del node.metadata_props[:]
    entry = graph.metadata_props.add()
    entry.key, entry.value = ABOUT, description
    content: bytes = graph.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence remarks on packages that the exporter would use if they were there."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
