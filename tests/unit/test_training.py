"""The training loop on a network of one number."""

from __future__ import annotations

import contextlib
import json
import re
import signal

import numpy as np
import pytest
import torch
from torch import nn

from lumpylens.errors import ModelError
from lumpylens.training.device import torch_device
from lumpylens.training.loop import seeded, train_network
from lumpylens.training.network import TrainableNetwork
from lumpylens.training.run import Run


class Line(TrainableNetwork):
    """Learns the mean of what it is shown; records what that was."""

    def __init__(self, rate=0.5, start=5.0):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(start))
        self.rate = rate
        self.shown = []

    def optimisers(self, total_steps):
        self.total_steps = total_steps
        return [(torch.optim.SGD(self.parameters(), lr=self.rate), None)]

    def losses(self, batch):
        self.shown.append(batch)
        yield ((batch - self.level) ** 2).mean()

    def validation_loss(self, batch):
        return ((batch - self.level) ** 2).mean()


OPTIONS = {"max_epochs": 3, "batch_size": 4, "patience": 2, "seed": 1}


def train(network, train=None, validation=None, run=None, **options):
    data = np.zeros((10, 1), np.float32) if train is None else train
    check = data if validation is None else validation
    return train_network(
        network, data, check, run=run or Run(device="cpu"), **{**OPTIONS, **options}
    )


def test_history_says_what_happened(tmp_path, capfd):
    network = Line(rate=0.1)
    history = train(network, run=Run(tmp_path, device="cpu"))
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert network.total_steps == 9
    assert all(set(row) == {"epoch", "train_loss", "val_loss", "seconds"} for row in history)
    assert history[-1]["val_loss"] == pytest.approx(network.level.item() ** 2)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == history
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "metrics.jsonl"]
    assert capfd.readouterr() == ("", "")


def test_progress_is_lines_now_and_then_where_no_bar_can_move(capfd, monkeypatch):
    train(Line(rate=0.1), run=Run(device="cpu", progress=True))
    first, last = capfd.readouterr().err.splitlines()
    assert re.fullmatch(
        r"lumpylens: epoch 1/3  loss \S+  held out \S+, at most [\d.]+ s to go", first
    )
    assert re.fullmatch(r"lumpylens: epoch 3/3  loss \S+  held out \S+", last)
    monkeypatch.setattr("lumpylens.training.lightning.EVERY_SECONDS", 0)
    train(Line(rate=0.1), run=Run(device="cpu", progress=True))
    assert capfd.readouterr().err.count("\n") == 3


def test_a_terminal_keeps_its_bar(capfd, monkeypatch):
    monkeypatch.setattr("lumpylens.training.lightning.has_bars", lambda: True)
    train(Line(rate=0.1), run=Run(device="cpu", progress=True))
    shown = capfd.readouterr().err
    assert "epoch 3/3" in shown
    assert "lumpylens:" not in shown


def test_it_stops_early_and_keeps_the_best_weights():
    # Every step overshoots a little more, so the first epoch is the best.
    network = Line(rate=1.05)
    history = train(network, max_epochs=50, patience=3)
    losses = [row["val_loss"] for row in history]
    assert losses.index(min(losses)) == 0
    assert len(history) == 4
    assert network.level.item() ** 2 == pytest.approx(losses[0])
    assert not network.training


def test_every_epoch_shows_each_image_once_in_an_order_of_its_own():
    data = np.arange(11, dtype=np.float32)[:, None]
    network, again = Line(), Line()
    train(network, data)
    train(again, data)
    assert [len(batch) for batch in network.shown] == [4, 4, 3] * 3
    orders = [torch.cat(network.shown[k : k + 3]).ravel().tolist() for k in (0, 3, 6)]
    assert all(sorted(order) == data.ravel().tolist() for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert all(torch.equal(a, b) for a, b in zip(network.shown, again.shown, strict=True))


def test_bytes_become_fractions_and_tuples_stay_together():
    class Pairs(Line):
        def losses(self, batch):
            images, targets = batch
            assert torch.equal(images[:, 0], targets[:, 0] / 255)
            yield from super().losses(images)

        def validation_loss(self, batch):
            return super().validation_loss(batch[0])

    images = np.arange(10, dtype=np.uint8)[:, None]
    both = (images, images.astype(np.float32))
    train(Pairs(), both, both)


def test_augmentation_touches_training_batches_alone():
    network = Line(rate=0.1)
    history = train(network, augment=lambda batch: batch + 1)
    assert all((batch == 1).all() for batch in network.shown)
    assert history[-1]["val_loss"] == pytest.approx(network.level.item() ** 2)


def test_adversaries_move_in_turn():
    class Pair(Line):
        def __init__(self):
            super().__init__()
            self.other = nn.Parameter(torch.tensor(0.0))

        def optimisers(self, total_steps):
            first, second = (torch.optim.SGD([p], lr=0.1) for p in (self.level, self.other))
            schedule = torch.optim.lr_scheduler.LinearLR(second, 1.0, 0.1, total_steps)
            return [(first, None), (second, schedule)]

        def losses(self, batch):
            before = self.level.item(), self.other.item()
            yield ((batch - self.level) ** 2).mean() + 0 * self.other
            assert self.level.item() != before[0]
            assert self.other.item() == before[1]
            yield (self.other - self.level).square() + 1
            raise AssertionError("nothing asks for a third loss")

    network = Pair()
    history = train(network, max_epochs=30, patience=30)
    assert history[-1]["train_loss"] < 0.01
    assert network.other.item() != 0


def test_randomness_is_that_of_the_seed_and_of_nothing_else():
    class Noisy(Line):
        def losses(self, batch):
            yield from super().losses(batch + torch.randn_like(batch))

    before = torch.get_rng_state()
    first, second, other = Noisy(), Noisy(), Noisy()
    train(first)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        train(second)
    train(other, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.level.item() == second.level.item() != other.level.item()


def test_a_finished_run_is_not_run_again(tmp_path):
    first, again = Line(rate=0.1), Line(rate=0.1)
    history = train(first, run=Run(tmp_path, device="cpu"))
    assert train(again, run=Run(tmp_path, device="cpu", resume=True)) == history
    assert again.shown == []
    assert again.level.item() == first.level.item()


def test_resuming_where_nothing_is_starts_afresh(tmp_path):
    assert len(train(Line(), run=Run(tmp_path / "new", device="cpu", resume=True))) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 2}, "seed=1, not 2"),
        ({"settings": {"rate": 3}}, "rate=None, not 3"),
        ({"train": np.ones((10, 1), np.float32)}, "other images"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, options, said):
    train(Line(), run=Run(tmp_path, device="cpu"))
    with pytest.raises(ModelError, match=said):
        train(Line(), run=Run(tmp_path, device="cpu", resume=True), **options)


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"last\.ckpt cannot be read"):
        train(Line(), run=Run(tmp_path, device="cpu", resume=True))


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save({"callbacks": Evil()}, tmp_path / "last.ckpt")
    with pytest.raises(ModelError, match=r"last\.ckpt cannot be read"):
        train(Line(), run=Run(tmp_path, device="cpu", resume=True))
    assert not (tmp_path / "opened").exists()


def test_divergence_is_said(tmp_path):
    with pytest.raises(ModelError, match="diverged in epoch 1"):
        train(Line(rate=1e30))


def test_ctrl_c_is_a_keyboard_interrupt_and_works_twice():
    class Stopped(Line):
        def losses(self, batch):
            raise KeyboardInterrupt
            yield

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(Stopped())
    assert signal.getsignal(signal.SIGINT) == before


def test_a_ctrl_c_that_something_swallows_stops_training_all_the_same():
    class Deaf(Line):
        def losses(self, batch):
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            yield from super().losses(batch)

    network = Deaf()
    # A shell that starts tests in the background has them ignore Ctrl-C.
    of_shell = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(network)
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, of_shell)
    assert len(network.shown) == 1


def test_devices():
    assert torch_device("cpu").type == "cpu"
    with pytest.raises(ModelError, match="no device called 'gpu'"):
        torch_device("gpu")
    if not torch.cuda.is_available():
        assert torch_device("auto").type == "cpu"
        with pytest.raises(ModelError, match="finds no GPU"):
            torch_device("cuda")


def test_seeded_puts_the_state_back():
    before = torch.get_rng_state()
    with seeded(1):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
