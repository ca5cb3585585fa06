"""Every verb of the command line is a public function of the same words and defaults."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import lumpylens
from lumpylens.cli import app

OF_THE_TERMINAL = {"as_json", "quiet", "debug"}
"""What a terminal asks for and a program does not; ``--quiet`` stands for ``progress=False``."""
PLACES = {"train": "model", "adapt": "adapted", "evaluate": "results", "explain": "explained",
          "fit": "fits.csv", "benchmark": "results", "simulate": "lenses.h5",
          "sensitivity": "sensitivity.csv", "population": "population"}  # fmt: skip
"""Where a verb of the command line writes unless told: a terminal keeps nothing in memory."""
ON_A_CLUSTER = {"score": ("score_shards", {"cluster", "top"}),
                "simulate": ("simulate_shards", {"cluster", "shard"})}  # fmt: skip
"""Verbs whose option --cluster stands for another function, and the words of that alone."""

VERBS = {
    command.name or command.callback.__name__: command.callback
    for command in app.registered_commands
}


def words(function) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def meaning(value):
    """A default in words that both sides share."""
    if isinstance(value, Path):
        return str(value)
    return None if value in ("", [], ()) else value


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_function_of_the_same_words_and_defaults(verb):
    said = {name: p for name, p in words(VERBS[verb]).items() if name not in OF_THE_TERMINAL}
    function = words(getattr(lumpylens, verb))
    if "quiet" in words(VERBS[verb]) and "progress" in function:
        assert function.pop("progress").default is True
    _, of_the_cluster = ON_A_CLUSTER.get(verb, ("", set()))
    assert set(said) - of_the_cluster == set(function)
    for name, parameter in function.items():
        if name == "out" and verb in PLACES:
            assert parameter.default is None
            assert str(said[name].default) == PLACES[verb]
        elif name == "seeds":
            assert said[name].default == ",".join(map(str, parameter.default))
        else:
            assert meaning(said[name].default) == meaning(parameter.default), name


NOT_RESULTS = {
    "train": "a model, which save_model writes",
    "adapt": "a model, which save_model writes",
    "simulate": "images, which simulate writes with out=",
    "export": "the file that was written",
    "fetch": "the folder that was written",
}
"""Verbs that return no result of their own, and what it is instead."""


def result_of(function) -> type:
    """Class that a function says it returns."""
    name = inspect.signature(function).return_annotation
    return vars(sys.modules[function.__module__])[name]


@pytest.mark.parametrize(
    "verb", sorted({*VERBS, "score_shards", "simulate_shards"} - set(NOT_RESULTS))
)
def test_a_result_writes_itself_becomes_a_data_frame_and_shows_itself(verb):
    result = result_of(getattr(lumpylens, verb))
    for method in ("write", "to_pandas", "_repr_html_"):
        assert callable(getattr(result, method, None)), method
    assert set(words(result.write)) & {"path", "folder"}
    # a text of its own, not all attributes
    assert not hasattr(result.__repr__, "__wrapped__")
    assert result.__repr__ is not object.__repr__
    assert is_frozen(result)


@pytest.mark.parametrize("verb", NOT_RESULTS)
def test_what_is_no_result_has_a_text_of_its_own(verb):
    returned = result_of(getattr(lumpylens, verb))
    assert not hasattr(returned, "to_pandas")
    assert not hasattr(returned.__repr__, "__wrapped__")


def is_frozen(result: type) -> bool:
    return all(
        base.__dataclass_params__.frozen
        for base in result.__mro__
        if "__dataclass_params__" in vars(base)
    )


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    np.save(folder / "lenses.npy", np.random.default_rng(0).random((3, 12, 12)))
    return folder


def test_a_description_is_json_and_a_table(folder_of_images, tmp_path):
    for subject in (None, "slc-pixel", folder_of_images):
        description = lumpylens.info(subject, progress=False)
        text = description.write(tmp_path / "info.json").read_text(encoding="utf-8")
        assert json.loads(text)["kind"] == description["kind"]
        frame = description.to_pandas()
        assert list(frame) == ["fact", "value"]
        assert dict(zip(frame["fact"], frame["value"], strict=True))["kind"] == description["kind"]
        assert description._repr_html_().startswith("<pre>")
    assert dict(zip(frame["fact"], frame["value"], strict=True))["shapes.12x12"] == "3"
    with pytest.raises(lumpylens.DataError, match=r"ends in \.json, got .*info\.csv"):
        description.write(tmp_path / "info.csv")


@pytest.mark.parametrize("verb", ON_A_CLUSTER)
def test_what_stands_behind_cluster_is_a_function_of_the_same_words(verb):
    name, of_the_cluster = ON_A_CLUSTER[verb]
    said, function = words(VERBS[verb]), words(getattr(lumpylens, name))
    assert of_the_cluster <= set(function)
    known = set(said) | {"shards", "progress"}
    assert set(function) <= known
    for word in set(function) & set(said) - {"out"}:
        assert meaning(said[word].default) == meaning(function[word].default), word


@pytest.mark.parametrize("verb", [*VERBS, "score_shards", "simulate_shards"])
def test_shared_words_have_one_default(verb):
    shared = {"device": "auto", "progress": True, "seed": 0, "explain": 50, "fdr": 0.05,
              "band": None, "workers": 1}  # fmt: skip
    function = words(getattr(lumpylens, verb))
    assert {n: function[n].default for n in shared if n in function} == {
        n: value for n, value in shared.items() if n in function
    }
    if "out" in function:
        assert function["out"].default in (None, inspect.Parameter.empty)
