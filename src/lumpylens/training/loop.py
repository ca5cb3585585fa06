"""The one training loop, on Lightning. It does not know which detector it trains.

A network says what its losses and optimisers are (`TrainableNetwork`); `train_network` does the
rest: data order, early stopping on normal images, best weights, checkpoints, resuming, devices.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.errors import ModelError
from lumpylens.files.digests import short_digest_of
from lumpylens.training.device import torch_device
from lumpylens.training.network import CHECKPOINT, TrainableNetwork
from lumpylens.training.run import Run

__all__ = ["seeded", "train_network"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's generators seeded, and put their state back afterwards.

    Examples
    --------
    >>> with seeded(3):
    ...     first = torch.rand(1)
    >>> with seeded(3):
    ...     bool(torch.rand(1) == first)
    True
    """
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def train_network(
    network: TrainableNetwork,
    train: Tensor | NDArray[Any] | tuple[Tensor | NDArray[Any], ...],
    validation: Tensor | NDArray[Any] | tuple[Tensor | NDArray[Any], ...],
    *,
    run: Run,
    max_epochs: int,
    batch_size: int,
    patience: int,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    augment: Callable[[Any], Any] | None = None,
) -> list[dict[str, float]]:
    """Train `network` in place and leave it with its best weights, on the CPU, in eval mode.

    Everything random is a function of `seed` and the epoch, so that a resumed run repeats an
    unbroken one exactly on one CPU thread. Torch's global generator is left as it was.

    Parameters
    ----------
    network : TrainableNetwork
    train, validation : array or tuple of arrays, first axis = examples
        float32 is used as it is; uint8 is divided by 255 batch by batch. A tuple gives
        batches that are tuples.
    run : Run
        Device, progress, and the folder for ``last.ckpt`` and ``metrics.jsonl``.
    max_epochs : int
    batch_size : int
        Examples per step, over all devices. Steps of an epoch are of equal size within one.
    patience : int
        Stop after this many epochs without a lower validation loss.
    seed : int
    settings : mapping, optional
        Whatever else decides what is learned; a checkpoint of other settings is refused.
    augment : callable, optional
        Batch -> batch, on the device, for training batches only. It draws from torch's
        global generator.

    Returns
    -------
    list of dict
        One per epoch: ``epoch`` (from 1), ``train_loss``, ``val_loss``, ``seconds``.

    Raises
    ------
    ModelError
        If the loss is not finite, or a checkpoint belongs to another run.
    """
    data, check = _as_tensors(train), _as_tensors(validation)
    identity = {
        **(settings or {}),
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "patience": patience,
        "seed": seed,
        "images": _digest(*data, *check),
    }
    from lumpylens.training.lightning import EpochRecord, fit

    record = EpochRecord(
        network,
        identity,
        folder=run.folder,
        max_epochs=max_epochs,
        patience=patience,
        seed=seed,
        progress=run.progress,
    )
    checkpoint = None
    if run.folder is not None:
        run.folder.mkdir(parents=True, exist_ok=True)
        if run.resume and (run.folder / CHECKPOINT).exists():
            checkpoint = run.folder / CHECKPOINT
            _resume(record, checkpoint)
    if not record.finished:
        on_gpu = torch_device(run.device).type == "cuda"
        try:
            with seeded(seed):
                fit(
                    network,
                    data,
                    check,
                    record,
                    run,
                    on_gpu=on_gpu,
                    max_epochs=max_epochs,
                    batch_size=batch_size,
                    seed=seed,
                    augment=augment,
                    checkpoint=checkpoint,
                )
        except SystemExit as stop:
            # Lightning turns Ctrl-C into an exit.
            if not record.interrupted:
                raise
            raise KeyboardInterrupt from stop
    network.load_state_dict(record.best_weights)
    network.cpu().eval()
    return record.history


def _resume(record: Any, checkpoint: Path) -> None:
    """Take the record of the run that wrote `checkpoint`, if it is this one."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["callbacks"][record.state_key]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, RuntimeError) as problem:
        raise ModelError(
            f"the checkpoint {checkpoint} cannot be read; delete it or start without resuming"
        ) from problem
    for key, value in record.identity.items():
        earlier = state["identity"].get(key)
        if earlier != value:
            difference = "other images" if key == "images" else f"{key}={earlier!r}, not {value!r}"
            raise ModelError(
                f"the checkpoint in {checkpoint.parent} was made with {difference}; "
                "resume with the same, or start afresh in another folder"
            )
    record.load_state_dict(state)


def _as_tensors(data: Any) -> tuple[Tensor, ...]:
    parts = data if isinstance(data, tuple) else (data,)
    return tuple(torch.as_tensor(part) for part in parts)


def _digest(*tensors: Tensor) -> str:
    parts: list[str | NDArray[Any]] = []
    for tensor in tensors:
        array = tensor.numpy()
        parts += [f"{array.dtype}{array.shape}", array]
    return short_digest_of(*parts).hex()
