"""A small version of the campaign that damages files, in this process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fuzz import FORMATS, Child, damage


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    return Child(tmp_path_factory.mktemp("fuzz"), seed=20)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_give_reasons_and_nothing_worse(kind, child):
    outcomes = {child.run(kind, number) for number in range(6)}
    assert outcomes & {"reason", "refused"}


def test_the_campaign_sees_what_it_looks_for(child, monkeypatch, tmp_path):
    import pickle

    def unpickles(path, originals):
        pickle.loads(pickle.dumps(Child))

    def writes(path, originals):
        (tmp_path / "written").write_text("")

    def gives_nothing(path):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(child, "read_images", unpickles)
        with pytest.raises(AssertionError, match=r"pickle\.find_class"):
            child.run("npy", 0)
        patch.setattr(child, "read_images", writes)
        with pytest.raises(AssertionError, match="open for writing"):
            child.run("npy", 0)
        patch.setattr(child, "read_table", gives_nothing)
        with pytest.raises(ZeroDivisionError):
            child.run("scores.csv", 0)
    # Cut-off stacks still have whole images, which this detector does not score.
    silent = SimpleNamespace(score=lambda images: SimpleNamespace(
        anomaly_score=[np.nan] * len(images), error=[""] * len(images)
    ))  # fmt: skip
    monkeypatch.setattr(child, "detector", lambda images: silent)
    with pytest.raises(AssertionError, match="score nan with error ''"):
        [child.run("npy", number) for number in range(20)]


def test_damage_is_a_function_of_its_generator_and_changes_something():
    content = bytes(range(256)) * 20
    made = [damage(content, np.random.default_rng((0, k))) for k in range(60)]
    assert made == [damage(content, np.random.default_rng((0, k))) for k in range(60)]
    assert {kind for kind, _ in made} == {
        "cut", "flip", "overwrite", "magic", "remove", "insert", "repeat",
    }  # fmt: skip
    assert sum(changed != content for _, changed in made) >= 58
