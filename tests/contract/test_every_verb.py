"""Every verb of the command line is a public function of the same words and defaults."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import lumpylens
from lumpylens.cli import app

OF_THE_TERMINAL = {"as_json", "quiet", "debug"}
"""What a terminal asks for and a program does not; ``--quiet`` stands for ``progress=False``."""
PLACES = {"train": "model", "evaluate": "results", "explain": "explained", "fit": "fits.csv",
          "benchmark": "results", "simulate": "lenses.h5"}  # fmt: skip
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
