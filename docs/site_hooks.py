"""What building the site needs beside Markdown: formulas as MathML, the text of --help."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
HELP = "<!-- help of every verb -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the help of every verb where a page asks for it."""
    return markdown.replace(HELP, help_of_every_verb()) if HELP in markdown else markdown


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
