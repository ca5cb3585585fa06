"""What `training` hands to Lightning. Imported only when something is trained."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from lumpylens.errors import ModelError
from lumpylens.files.progress import duration, has_bars, note
from lumpylens.training.batches import Batches, loader
from lumpylens.training.network import CHECKPOINT, TrainableNetwork

if TYPE_CHECKING:
    from lumpylens.training.run import Run


EVERY_SECONDS = 10.0
"""Least time between two lines about epochs, where there is no bar."""


class Loop(pl.LightningModule):
    """One network's losses and optimisers in Lightning's words."""

    def __init__(
        self,
        network: TrainableNetwork,
        total_steps: int,
        augment: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.total_steps, self.augment = network, total_steps, augment

    def configure_optimizers(self) -> Any:
        """Ask the network."""
        self.pairs = self.network.optimisers(self.total_steps)
        return (
            [optimiser for optimiser, _ in self.pairs],
            [schedule for _, schedule in self.pairs if schedule is not None],
        )

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """Update the weights once per loss; return the first loss."""
        examples = _as_floats(batch)
        if self.augment is not None:
            examples = self.augment(examples)
        optimisers = self.optimizers()
        steps = optimisers if isinstance(optimisers, list) else [optimisers]
        losses = self.network.losses(examples)
        first: Tensor | None = None
        for optimiser, (_bare, schedule) in zip(steps, self.pairs, strict=True):
            loss = next(losses)
            optimiser.zero_grad()
            self.manual_backward(loss)
            optimiser.step()
            if schedule is not None:
                schedule.step()
            first = loss.detach() if first is None else first
        assert first is not None
        return first

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """Mean loss of the batch."""
        return self.network.validation_loss(_as_floats(batch))


def _as_floats(batch: tuple[Tensor, ...]) -> Any:
    parts = tuple(part.float() / 255 if part.dtype == torch.uint8 else part for part in batch)
    return parts[0] if len(parts) == 1 else parts


class EpochRecord(pl.Callback):
    """History, best weights, early stopping, checkpoint and progress of one run."""

    def __init__(
        self,
        network: TrainableNetwork,
        identity: Mapping[str, Any],
        *,
        folder: Path | None,
        max_epochs: int,
        patience: int,
        seed: int,
        progress: bool,
    ) -> None:
        self.network, self.identity, self.folder = network, dict(identity), folder
        self.max_epochs, self.patience, self.seed = max_epochs, patience, seed
        self.progress = progress
        self.history: list[dict[str, float]] = []
        self.best_weights = _copy(network)
        self.finished = max_epochs < 1
        self.interrupted = False
        self.asked_to_stop = False
        self.bar: Progress | None = None
        self.spoken = -math.inf

    @property
    def state_key(self) -> str:
        """Name of this record inside a checkpoint."""
        return "EpochRecord"

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs, of types that load without code."""
        return {
            "identity": self.identity,
            "history": self.history,
            "best_weights": self.best_weights,
            "finished": self.finished,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self.history = [dict(row) for row in state["history"]]
        self.best_weights, self.finished = dict(state["best_weights"]), state["finished"]

    def on_train_epoch_start(self, trainer: pl.Trainer, loop: pl.LightningModule) -> None:
        """Seed everything that the epoch draws."""
        entropy = (self.seed, len(self.history), trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        self.started = time.perf_counter()
        self.sums = torch.zeros(2, 2, dtype=torch.float64, device=loop.device)
        if self.progress and trainer.is_global_zero and self.bar is None and has_bars():
            self._open_bar(int(trainer.num_training_batches))

    def on_train_batch_end(
        self, trainer: pl.Trainer, loop: pl.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Add up the loss without waiting for the device."""
        self._stop_if_asked()
        self._add(0, outputs["loss"], len(batch[0]))
        if self.bar is not None:
            self.bar.advance(self.bar.task_ids[0])

    def on_validation_batch_end(
        self, trainer: pl.Trainer, loop: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Add up the loss of the held-out images."""
        self._stop_if_asked()
        self._add(1, outputs, len(batch[0]))

    def _stop_if_asked(self) -> None:
        if self.asked_to_stop:
            raise KeyboardInterrupt

    def _add(self, row: int, loss: Tensor, count: int) -> None:
        self.sums[row, 0] += loss.double() * count
        self.sums[row, 1] += count

    def on_train_epoch_end(self, trainer: pl.Trainer, loop: pl.LightningModule) -> None:
        """Write down the epoch, keep the best weights, decide whether to stop, save."""
        means = trainer.strategy.reduce(self.sums[:, 0] / self.sums[:, 1], reduce_op="mean")
        train_loss, val_loss = means.tolist()
        epoch = len(self.history) + 1
        if not np.isfinite([train_loss, val_loss]).all():
            raise ModelError(
                f"training diverged in epoch {epoch}: training loss {train_loss}, validation loss "
                f"{val_loss}; lower the learning rate"
            )
        losses = [row["val_loss"] for row in self.history]
        if not losses or val_loss < min(losses):
            self.best_weights = _copy(self.network)
        losses.append(val_loss)
        self.history.append(
            {
                "epoch": epoch,
                "train_loss": train_loss,
                "val_loss": val_loss,
                "seconds": time.perf_counter() - self.started,
            }
        )
        stale = epoch - 1 - int(np.argmin(losses))
        self.finished = epoch >= self.max_epochs or stale >= self.patience
        trainer.should_stop = self.finished
        if self.progress and trainer.is_global_zero:
            self._tell(
                f"epoch {epoch}/{self.max_epochs}  loss {train_loss:.4g}  held out {val_loss:.4g}"
            )
        if self.folder is not None:
            self._save(trainer, self.folder)

    def _tell(self, text: str) -> None:
        """Put a text beside the bar; where there is none, it is a line now and then."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=text)
            return
        now = time.monotonic()
        if self.finished or now - self.spoken >= EVERY_SECONDS:
            self.spoken = now
            per_epoch = sum(row["seconds"] for row in self.history) / len(self.history)
            time_left = duration(per_epoch * (self.max_epochs - len(self.history)))
            note(text if self.finished else f"{text}, at most {time_left} to go")

    def _save(self, trainer: pl.Trainer, folder: Path) -> None:
        """Replace the last checkpoint and the metrics, each in one step."""
        target, lines = folder / CHECKPOINT, folder / "metrics.jsonl"
        trainer.save_checkpoint(f"{target}.part")
        if trainer.is_global_zero:
            text = "".join(json.dumps(row) + "\n" for row in self.history)
            Path(f"{lines}.part").write_text(text, encoding="utf-8")
            os.replace(f"{target}.part", target)
            os.replace(f"{lines}.part", lines)

    def on_exception(self, trainer: pl.Trainer, loop: Any, exception: BaseException) -> None:
        """Remember a Ctrl-C, which Lightning swallows."""
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def teardown(self, trainer: pl.Trainer, loop: pl.LightningModule, stage: str) -> None:
        """Close the progress bar, whatever happened."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _open_bar(self, batches: int) -> None:
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        batches_done = len(self.history) * batches
        self.bar.add_task("training", total=self.max_epochs * batches, completed=batches_done)
        self.bar.start()


def _copy(network: TrainableNetwork) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def fit(
    network: TrainableNetwork,
    train: tuple[Tensor, ...],
    validation: tuple[Tensor, ...],
    record: EpochRecord,
    run: Run,
    *,
    on_gpu: bool,
    max_epochs: int,
    batch_size: int,
    seed: int,
    augment: Callable[[Any], Any] | None,
    checkpoint: Path | None,
) -> None:
    """Run Lightning's loop; what it learns is left in `record` and `network`."""
    order = Batches(len(train[0]), batch_size, seed)
    held_out = Batches(len(validation[0]), batch_size, None)
    loop = Loop(network, max_epochs * len(order), augment)
    network.train()
    strategy = "auto"
    if run.devices * run.nodes > 1:
        # A loss of an adversarial network does not reach every weight.
        adversarial = len(network.optimisers(loop.total_steps)) > 1
        strategy = "ddp_find_unused_parameters_true" if adversarial else "ddp"
    with _quiet():
        trainer = pl.Trainer(
            accelerator="gpu" if on_gpu else "cpu",
            devices=run.devices,
            num_nodes=run.nodes,
            strategy=strategy,
            sync_batchnorm=on_gpu and strategy != "auto",
            precision=run.precision,  # type: ignore[arg-type]
            max_epochs=max_epochs,
            callbacks=[record],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=run.folder,
        )
        with _ctrl_c_is_noticed(record):
            trainer.fit(
                loop,
                loader(train, order),
                loader(validation, held_out),
                ckpt_path=checkpoint,
                weights_only=True,
            )


@contextmanager
def _ctrl_c_is_noticed(record: EpochRecord) -> Iterator[None]:
    """Have the record see a Ctrl-C too: raised inside a callback of compiled code, it gets lost.

    Lightning leaves Ctrl-C ignored once there was one; the handler from before comes back.
    """
    handler_before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler_before):
        yield
        return

    def noticed(number: int, frame: FrameType | None) -> None:
        record.asked_to_stop = True
        handler_before(number, frame)

    signal.signal(signal.SIGINT, noticed)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler_before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice: data in memory needs no workers, and the log is ours."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning(\.|$)")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
