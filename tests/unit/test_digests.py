"""Digests that lie in files of results keep their values."""

from __future__ import annotations

import hashlib
import os
import sys

import numpy as np
import pytest
import torch

from lumpylens.data.fetch import content_digest
from lumpylens.data.images import LensImages
from lumpylens.files.digests import (
    SHORT_BYTES,
    digest_of,
    digest_of_file,
    digest_of_settings,
    short_digest_of,
    stamp,
)
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.recipe import digest_of_lens
from lumpylens.scale.shards import ScoreTask
from lumpylens.training import loop
from lumpylens.verbs.benchmark.compare import fingerprint

PIXELS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_parts_follow_each_other_whatever_they_are():
    whole = b"text" + b"\xff" + PIXELS.tobytes()
    parts = "text", b"\xff", PIXELS
    assert digest_of(*parts) == hashlib.sha256(whole).hexdigest()
    assert short_digest_of(*parts) == hashlib.blake2b(whole, digest_size=SHORT_BYTES).digest()
    # A name of a file need not be UTF-8.
    assert digest_of(os.fsdecode(b"\xff")) == hashlib.sha256(b"\xff").hexdigest()


@pytest.mark.parametrize("same", [np.asfortranarray(PIXELS), np.repeat(PIXELS, 2, 1)[:, ::2]])
def test_how_pixels_lie_in_memory_does_not_count(same):
    assert not same.flags.c_contiguous
    assert digest_of(same) == digest_of(PIXELS)


def test_files_hold_the_same_digests_as_ever(tmp_path, monkeypatch):
    """Another value would fit lenses, score shards and train networks anew."""
    monkeypatch.setattr(sys.modules["lumpylens.lenses.recipe"], "RECIPE", "3")
    image = LensImages.from_arrays(
        np.random.default_rng(0).random((1, 9, 9)), ids=["a"], noise=np.ones((9, 9)),
        psf=np.ones((3, 3)),
    )  # fmt: skip
    assert digest_of_lens(cutout_of(image[0]), seed=3) == "872a308a7e57a16e"
    assert fingerprint(image + image, progress=False) == (
        "6a925ff0b7dae1bdbf574459b59df2043c6a831ce4e5d81a93e98d58e8c3e9e6"
    )
    assert (
        loop._digest(torch.from_numpy(PIXELS), torch.zeros(2, dtype=torch.uint8))
        == "2dc114dc6d7a0d42c40999ba045b1e35"
    )
    assert digest_of_settings({"b": [1, 2.5], "a": "x"}) == (
        "0acd2d90f0cd6e85fef729a57602a400c2c4e760a419534eb7aaa5117dcdd8c4"
    )
    assert ScoreTask("/a b/é.fits", "", "", "").name == "é.fits-6fc6d5e58a"
    file = tmp_path / "a.npy"
    file.write_bytes(b"12345")
    os.utime(file, ns=(0, 10**9))
    assert stamp(tmp_path) == ("6be8eb4596d54a67f49a914701cbb18252a835f1c1d992d6221068bd5b5ad593")
    assert digest_of_file(file) == hashlib.sha256(b"12345").hexdigest()
    assert content_digest({"no_sub/0.jpg": file}) == (
        "4e1369d7cf8cb08892bb80251f3c25f32649fe134da8803eccb5b1f8143446b7"
    )
