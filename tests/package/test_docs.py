"""The documentation says what the code does: pages drawn from it are current, quotes are exact."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from lumpylens.cli import app
from lumpylens.detectors import DETECTORS
from lumpylens.lenses.catalogue import LensCatalogue
from lumpylens.report.comparison_table import PUBLISHED

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the tests lie outside the repository, so there are no pages"
)


def script(name: str) -> ModuleType:
    """A program of the documentation as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_imports_point_one_way():
    """`make docs` tells whether the picture is current."""
    architecture = script("architecture")
    modules = architecture.imports()
    assert architecture.faults(modules) == []
    floors = architecture.layers(architecture.between_rooms(modules))
    assert "physics" in floors[0]
    assert floors[-1] == ["cli"]


def test_imports_are_found_wherever_they_stand(tmp_path):
    package = tmp_path / "lumpylens"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").write_text("from lumpylens import one\n")
    (package / "__main__.py").write_text("from lumpylens import one\n")
    (package / "one.py").write_text("import numpy\n")
    (package / "two.py").write_text("def later():\n    from lumpylens.one import x\n")
    (package / "room" / "__init__.py").write_text("from lumpylens.room.a import y\n")
    (package / "room" / "a.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from lumpylens import two\n"
        "if TYPE_CHECKING:\n    from lumpylens.one import x\n"
    )
    assert script("architecture").imports(package) == {
        "one": set(), "two": {"one"}, "room": {"room.a"}, "room.a": {"one", "two"}
    }  # fmt: skip


def test_circles_and_arrows_upwards_are_faults():
    architecture = script("architecture")
    assert architecture.faults({"verbs.train": {"data.images"}, "data.images": set()}) == []
    (upward,) = architecture.faults({"data.images": {"verbs.train"}, "verbs.train": set()})
    assert upward == "data.images imports verbs.train, which stands above it"
    (circle,) = architecture.faults({"data.a": {"data.b"}, "data.b": {"data.a"}})
    assert "in a circle: data.a <- data.b <- data.a" in circle
    (homeless,) = architecture.faults({"attic.x": set()})
    assert homeless.startswith("attic.x stands in no room")


def test_the_results_table_is_current():
    assert script("results").main(check=True) == ""


def test_the_columns_of_the_catalogue_are_current():
    assert script("columns").main(check=True) == ""


def test_every_column_stands_in_its_page_with_its_meaning(tmp_path, monkeypatch):
    columns = script("columns")
    page = tmp_path / "page.md"
    monkeypatch.setattr(columns, "PAGES", {page: LensCatalogue.meanings})
    page.write_text("# Lenses\n")
    assert "has no place" in columns.main(check=False)
    page.write_text(f"# Lenses\n{columns.BEGIN}\nold\n{columns.END}\nmore\n")
    assert "run make columns" in columns.main(check=True)
    assert columns.main(check=False) == columns.main(check=True) == ""
    text = page.read_text()
    assert "old" not in text
    assert text.endswith(f"{columns.END}\nmore\n")
    for name, meaning in LensCatalogue.meanings.items():
        assert f"| `{name}` | {meaning} |" in text


def test_the_results_table_holds_the_numbers_of_the_benchmark():
    row = {
        "auc": 0.98765, "auc_low": 0.9, "auc_high": 0.999, "tpr_at_fpr": {"0.01": 0.75},
        "n_train": 3117,
    }  # fmt: skip
    results = script("results")
    result = {
        "rows": [
            {"detector": "physics", "audit": {"free_mass": 0.912345}, **row},
            {"detector": "aae", "audit": {}, **row},
        ],
        "reference": {**row, "n_train": 7163, "n_normal": 486, "n_anomalous": 462},
        "published": PUBLISHED,
        "seeds": [0, 1],
        "once": ["pca"],
        "n_normal": 486,
        "n_anomalous": 4500,
    }
    text = results.summary(result)
    numbers = "0.9877 | 0.9000 to 0.9990 | 0.750"
    assert f"| `physics` | {numbers} | 0.9123 |  |" in text
    assert f"| `aae` | {numbers} |  | 0.932 / 0.769 |" in text
    assert f"| *trained on labels, no detector* | {numbers} |  | 0.996 |" in text
    assert "means over 2 seeds (one for `pca`)" in text
    assert "saw 7163 images of both classes; its test set is 486 smooth images and 462" in text
    table = results.table(result)
    assert text.startswith(table)
    assert results.in_short(result).startswith(
        f"{table}\n\nAll detectors learned from the same 3117"
    )


def test_each_card_has_its_row_of_the_table(tmp_path, monkeypatch):
    row = {
        "audit": {}, "auc": 0.98765, "auc_low": 0.9, "auc_high": 0.999, "n_train": 3117,
        "tpr_at_fpr": {"0.01": 0.75},
    }  # fmt: skip
    result = {
        "rows": [{"detector": "aae", **row}, {"detector": "pca", **row, "auc": 0.8}],
        "reference": None,
        "published": PUBLISHED,
        "seeds": [0],
        "once": [],
        "n_normal": 486,
        "n_anomalous": 4500,
    }
    (tmp_path / "challenge.json").write_text(json.dumps(result))
    results = script("results")
    place = f"# card\n\n{results.BEGIN}\n\n{results.END}\n"
    for name in ("aae", "rbm", "index"):
        (tmp_path / f"{name}.md").write_text(place)
    monkeypatch.setattr(results, "RESULT", tmp_path / "challenge.json")
    monkeypatch.setattr(results, "CARDS", tmp_path)
    for name in ("README", "CHALLENGE"):
        (tmp_path / f"{name}.txt").write_text(place)
        monkeypatch.setattr(results, name, tmp_path / f"{name}.txt")
    assert results.main(check=True).endswith("is not current: run make results-table")
    assert results.main(check=False) == results.main(check=True) == ""
    card = (tmp_path / "aae.md").read_text()
    assert "| `aae` | 0.9877 | 0.9000 to 0.9990 | 0.750 |  | 0.932 / 0.769 |" in card
    assert "pca" not in card
    assert results.NO_ROW in (tmp_path / "rbm.md").read_text()
    assert (tmp_path / "index.md").read_text() == place
    (tmp_path / "vae.md").write_text("# card\n")
    assert "has no place for its results" in results.main(check=False)


def test_every_message_that_the_faq_explains_is_said_somewhere():
    source = " ".join(
        # Strings that are broken between lines are one message.
        re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8"))
        for path in (ROOT / "src").rglob("*.py")
    )
    heads = re.findall(r"^### (`.*`)", (DOCS / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    quotes = [quote for head in heads for quote in re.findall("`([^`]+)`", head)]
    assert len(quotes) > 15
    for quote in quotes:
        for fragment in re.split(r"\.\.\.", quote):
            wanted = fragment.strip(" ;:,?")
            assert wanted in source, f"no message says {wanted!r} (of {quote!r})"


def test_the_readme_has_three_commands_for_each_user_and_all_are_valid():
    sections = re.split("^## For ", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.M)[
        1:
    ]
    assert [text.split()[0] for text in sections] == ["students:", "astronomers:", "researchers:"]
    verbs = get_command(app).commands
    for text in sections:
        block, *_ = re.findall("^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        commands = [shlex.split(line, comments=True) for line in block.splitlines()]
        assert len(commands) == 3
        for program, *words in commands:
            if program == "cd":
                assert (ROOT / words[0] / "scatter.py").is_file()
            else:
                assert program == "lumpylens"
                verbs[words[0]].make_context(words[0], words[1:])


def test_every_detector_has_a_card_that_can_be_found():
    nav, index = (ROOT / "mkdocs.yml").read_text(), (DOCS / "detectors" / "index.md").read_text()
    for name in DETECTORS:
        assert (DOCS / "detectors" / f"{name}.md").is_file()
        assert f"detectors/{name}.md" in nav
        assert f"({name}.md)" in index


def test_the_files_to_change_and_to_copy_are_there():
    rows = [
        line.split("|")[2:5]
        for line in (DOCS / "changing.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| a") and "to add" not in line
    ]
    assert len(rows) > 12
    for change, copied, test in rows:
        for place, cell in (("src/lumpylens", change + copied), ("tests", test)):
            for path in re.findall(r"`([\w/.-]+(?:/|\.py|\.pyi|\.toml))`", cell):
                assert (ROOT / place / path).exists(), path


def test_every_file_that_may_be_changed_is_there():
    page = (DOCS / "changing.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    named = {
        name
        for row in rows
        for name in re.findall(r"`([\w./*-]+)`", row)
        if "/" in name or name.endswith((".py", ".toml"))
    }
    assert len(named) > 50
    folders = (ROOT / "src" / "lumpylens", ROOT / "tests", ROOT)
    assert [name for name in named if not any(any(f.glob(name)) for f in folders)] == []


def test_brackets_stand_beside_the_scores_of_physics(tmp_path, monkeypatch):
    limit = script("limit")
    bracket = {"lower": [0.78, 0.72, 0.84], "upper": [0.91, 0.87, 0.94]}
    lumps = {
        "euclid": ["points", "points compensated"],
        "slc": ["points 1 % compensated"],
        "lsst": ["points"],
    }
    rows = [
        {"population": name, "lumps": kind, **bracket} for name in lumps for kind in lumps[name]
    ]
    (tmp_path / "limit.json").write_text(json.dumps({"rows": rows}))
    for name, auc in (("euclid", 0.65), ("euclid-compensated", 0.66), ("lsst", None)):
        other = {"detector": "pca", "auc": 0.5, "auc_low": 0.4, "auc_high": 0.6}
        own = {"detector": "physics", "auc": auc, "auc_low": 0.59, "auc_high": 0.71}
        found = [other] if auc is None else [other, own]
        (tmp_path / f"{name}.json").write_text(json.dumps({"rows": found}))
    point = {"mass_fraction": 0.01, "compensated": True, "auc": {"anomaly_score": [0.68, 0.6, 0.7]}}
    curves = {"detectors": {"physics": {"mass": [point | {"mass_fraction": 0.03}, point]}}}
    (tmp_path / "curves-slc.json").write_text(json.dumps(curves))
    page = tmp_path / "measured.md"
    page.write_text(f"# measured\n\n{limit.BEGIN}\n\n{limit.END}\nrest\n")
    monkeypatch.setattr(limit, "RESULTS", tmp_path)
    monkeypatch.setattr(limit, "PAGE", page)
    monkeypatch.setattr(limit, "PICTURE", tmp_path / "limit.png")
    assert limit.main(check=True).endswith("are not current: run make results-table")
    assert limit.main(check=False) == limit.main(check=True) == ""
    ends = "0.78 (0.72 to 0.84) | 0.91 (0.87 to 0.94) |"
    for line in (
        f"| Euclid | 8 % | 0.65 (0.59 to 0.71) | {ends}",
        f"| Euclid | 8 %, compensated | 0.66 (0.59 to 0.71) | {ends}",
        f"| Challenge | 1 % of the mass, compensated | 0.68 (0.60 to 0.70) | {ends}",
        f"| LSST | 8 % |  | {ends}",
    ):
        assert line in page.read_text()
    assert page.read_text().endswith("rest\n")
    assert (tmp_path / "limit.png").stat().st_size > 5_000
