"""What building the site needs beside Markdown: formulas as MathML, and what the program says."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
PRESETS = Path(__file__).parents[1] / "src" / "lumpylens" / "simulation" / "presets"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put what the program says of itself where a page asks for it."""
    for mark, written in FROM_THE_PROGRAM.items():
        if mark in markdown:
            markdown = markdown.replace(mark, written())
    return markdown


def on_page_content(content: str, **_: Any) -> str:
    """Turn formulas into MathML, which browsers draw without a script from somewhere."""

    def drawn(found: re.Match[str]) -> str:
        display = "block" if found["tag"] == "div" else "inline"
        return convert(html.unescape(found["tex"]), display=display)

    return FORMULA.sub(drawn, content)


def help_of_every_verb() -> str:
    """One section per verb, as the program prints it."""
    from typer.main import get_command
    from typer.testing import CliRunner

    from lumpylens.cli import app

    runner = CliRunner(env={"COLUMNS": "90", "TERM": "dumb", "NO_COLOR": "1"})
    parts = []
    for verb in sorted(get_command(app).commands):  # type: ignore[attr-defined]
        done = runner.invoke(app, [verb, "--help"], prog_name="lumpylens")
        parts.append(f"## {verb}\n\n```text\n{done.output.strip()}\n```\n")
    return "\n".join(parts)


def public_names() -> str:
    """What the package's top level gives, for the page on Python."""
    import lumpylens

    named: dict[str, list[str]] = {"Verbs": [], "Types": [], "Errors": []}
    for name in sorted(lumpylens.__all__, key=str.lower):
        value = getattr(lumpylens, name)
        is_error = isinstance(value, type) and issubclass(value, Exception)
        kind = "Errors" if is_error else "Types" if isinstance(value, type) else "Verbs"
        named[kind].append(f"::: {value.__module__}.{name}")
    return "\n\n".join("\n".join([f"## {kind}", "", *entries]) for kind, entries in named.items())


def populations() -> str:
    """A table of the simulator's populations, from the first lines of their files."""
    lines = ["| name | population |", "|---|---|"]
    for path in sorted(PRESETS.glob("*.toml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0].partition(";")[0]
        lines.append(f"| `{path.stem}` | {first.removeprefix('#').strip()} |")
    return "\n".join(lines)


FROM_THE_PROGRAM: dict[str, Callable[[], str]] = {
    "<!-- help of every verb -->": help_of_every_verb,
    "<!-- populations -->": populations,
    "<!-- public names -->": public_names,
}
