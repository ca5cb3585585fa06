"""Images that are read one by one are read while those before them are worked on."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from PIL import Image

from lumpylens.data import LensImages, ahead
from lumpylens.data.image import LensImage
from lumpylens.errors import DataWarning

COUNT = 20


class Slow:
    """A source that notes what was read, and in which thread."""

    location = "nowhere"
    remarks = ()
    labels = (-1,) * COUNT
    ids = tuple(f"{k}" for k in range(COUNT))

    def __init__(self, raises_at=None, side=8):
        self.pixels = np.random.default_rng(0).random((COUNT, side, side))
        self.raises_at = raises_at
        self.loaded, self.threads = [], set()

    def load(self, position):
        self.loaded.append(position)
        self.threads.add(threading.current_thread())
        if position == self.raises_at:
            raise DataWarning("made an error by a filter")
        return LensImage.checked(self.ids[position], self.pixels[position])


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def reading_threads():
    return [thread for thread in threading.enumerate() if "reads ahead" in thread.name]


def test_the_next_batch_is_read_meanwhile_and_no_more():
    source = Slow()
    batches = LensImages.from_source(source).batches(4)
    next(batches)
    assert wait_for(lambda: len(source.loaded) == 8)
    time.sleep(0.05)
    assert source.loaded == list(range(8))
    assert source.threads.isdisjoint({threading.main_thread()})
    assert [batch.positions.tolist() for batch in batches] == np.arange(4, 20).reshape(
        4, 4
    ).tolist()
    assert source.loaded == list(range(COUNT))
    assert not reading_threads()


def test_large_images_wait_in_no_crowd(monkeypatch):
    monkeypatch.setattr(ahead, "MOST_BYTES", 3 * 4 * 64)
    source = Slow()
    batches = LensImages.from_source(source).batches(10)
    next(batches)
    assert wait_for(lambda: len(source.loaded) == 13)
    time.sleep(0.05)
    assert len(source.loaded) == 13
    batches.close()


def test_it_ends_with_the_reader():
    images = LensImages.from_source(Slow())

    def stop_early():
        for _ in images.batches(2):
            assert reading_threads()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_early()
    assert not reading_threads()


def test_an_error_comes_in_its_turn():
    batches = LensImages.from_source(Slow(raises_at=7)).batches(3)
    assert [next(batches).positions[0] for _ in range(2)] == [0, 3]
    with pytest.raises(DataWarning):
        next(batches)
    assert not reading_threads()


def test_damaged_pictures_are_rows_in_their_place(tmp_path):
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (COUNT, 16, 16))):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{k:02d}.jpg")
    for k in (0, 9, 19):
        (tmp_path / f"{k:02d}.jpg").write_bytes(b"no picture")
    images = LensImages.open(tmp_path)
    failed, counts = {}, []
    positions = [
        place
        for batch in images.batches(4, failed=failed, on_image=lambda: counts.append(1))
        for place in batch.positions.tolist()
    ]
    assert positions == [k for k in range(COUNT) if k not in (0, 9, 19)]
    assert failed == {k: images[k].error for k in (0, 9, 19)}
    assert len(counts) == COUNT


def test_stacks_need_no_thread():
    images = LensImages.from_arrays(Slow().pixels)
    for _ in images.batches(4):
        assert not reading_threads()


def test_images_are_handed_over_several_at_a_time(monkeypatch):
    monkeypatch.setattr(ahead, "AT_ONCE", 3)
    source = Slow()
    with ahead.ReadAhead(source.load, COUNT, 12) as load:
        for position in (0, 1, 2, 7, 8, 19):
            np.testing.assert_array_equal(load(position).image, source.load(position).image)
    assert not reading_threads()
