"""Draws the architecture page from the imports that the code really has.

``python docs/architecture.py`` rewrites the picture and the table in ``docs/architecture.md``;
with ``--check`` it writes nothing, and exits with 1 if they are not current or if imports between
the parts run in a circle.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from xml.sax.saxutils import escape

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "lumpylens"
PAGE, PICTURE = DOCS / "architecture.md", DOCS / "images" / "architecture.svg"
BEGIN, END = "<!-- drawn from the imports: begin -->", "<!-- drawn from the imports: end -->"

PARTS = {
    "cli": ("cli",),
    "verbs": (
        "train", "score", "evaluate", "explain", "export", "benchmark", "benchmark_run",
        "benchmark_sets", "benchmark_table", "demo", "describe",
    ),
    "real lenses": ("fit", "lenses"),
    "report": ("report", "examples", "ranking"),
    "store": ("store", "packing"),
    "detectors": ("detectors", "reference"),
    "training": ("training", "_lightning", "_batches"),
    "simulate": ("simulate",),
    "physics": ("physics",),
    "data": ("data", "npz"),
    "scores": ("scores", "tables", "metrics", "measure", "calibrate"),
    "ground": ("errors", "explanation", "writing", "progress"),
}  # fmt: skip
"""Which modules and folders of the package are drawn as one box; any other is one of its own."""

WIDTH, BOX_WIDTH, BOX_HEIGHT, ROW = 860, 118, 34, 84
ACROSS = {
    "cli": 0.5, "scale": 0.4, "real lenses": 0.72, "verbs": 0.5, "report": 0.5, "store": 0.8,
    "detectors": 0.42, "training": 0.5, "simulate": 0.12, "physics": 0.2, "data": 0.8,
    "scores": 0.8, "ground": 0.72,
}  # fmt: skip
"""Where a box stands in its row, so that long arrows pass beside boxes; others share the room."""

Imports = dict[str, set[str]]


def part_of(module: str) -> str:
    """The box that a module or folder of the package is drawn in."""
    return next((part for part, members in PARTS.items() if module in members), module)


def imports(source: Path = SOURCE) -> Imports:
    """Module or folder of the package -> those that it imports, anywhere but for type checks."""
    found: Imports = defaultdict(set)
    for path in sorted(source.rglob("*.py")):
        module = path.relative_to(source).parts[0].removesuffix(".py")
        if module == "__init__":
            continue
        found[module] |= imported_by(ast.parse(path.read_text(encoding="utf-8")), source)
        found[module].discard(module)
    return dict(found)


def imported_by(tree: ast.AST, source: Path) -> set[str]:
    """Modules and folders of the package that some code imports."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            module = rest.partition(".")[0]
            known = (source / module).is_dir() or (source / f"{module}.py").is_file()
            if first == source.name and module and known:
                found.add(module)
        found |= imported_by(node, source)
    return found


def between_parts(modules: Imports) -> Imports:
    """The same between the boxes of the picture."""
    found: Imports = {part_of(module): set() for module in modules}
    for module, others in modules.items():
        found[part_of(module)] |= {part_of(other) for other in others} - {part_of(module)}
    return found


def layers(parts: Imports) -> list[list[str]]:
    """Boxes by row, from those that import nothing.

    Raises
    ------
    CycleError
        If imports run in a circle.
    """
    level: dict[str, int] = {}
    for part in TopologicalSorter(parts).static_order():
        level[part] = 1 + max((level[other] for other in parts[part]), default=-1)
    rows: list[list[str]] = [[] for _ in range(1 + max(level.values()))]
    for part in sorted(level, key=lambda name: list(PARTS).index(name) if name in PARTS else 99):
        rows[level[part]].append(part)
    return rows


def direct(parts: Imports) -> Imports:
    """Without the arrows that follow from others: they would hide the picture."""

    def reach(part: str) -> set[str]:
        return parts[part].union(*(reach(other) for other in parts[part]))

    return {
        part: {o for o in others if not any(o in reach(p) for p in others - {o})}
        for part, others in parts.items()
    }


def picture(parts: Imports) -> str:
    """The boxes and arrows as SVG."""
    rows = layers(parts)
    height = ROW * len(rows)
    place = {
        part: (
            WIDTH * ACROSS.get(part, (k + 1) / (len(row) + 1)), height - ROW * level - ROW / 2
        )
        for level, row in enumerate(rows) for k, part in enumerate(row)
    }  # fmt: skip
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="Parts of lumpylens and which of them import which" '
        'font-family="sans-serif" font-size="15" text-anchor="middle">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#78909c"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="#ffffff"/>',
    ]
    for part, others in sorted(direct(parts).items()):
        x, y = place[part]
        for other in sorted(others):
            to_x, to_y = place[other]
            start, end = y + BOX_HEIGHT / 2, to_y - BOX_HEIGHT / 2
            middle = (start + end) / 2
            lines.append(
                f'<path d="M{x:.0f} {start:.0f}C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} '
                f'{to_x:.0f} {end:.0f}" fill="none" stroke="#78909c" stroke-width="1.5" '
                'marker-end="url(#tip)"/>'
            )
    for part, (x, y) in sorted(place.items()):
        lines.append(
            f'<rect x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" '
            f'height="{BOX_HEIGHT}" rx="6" fill="#eceff1" stroke="#455a64"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}" fill="#263238">{escape(part)}</text>'
        )
    return "\n".join([*lines, "</svg>"]) + "\n"


def table(modules: Imports) -> str:
    """What each box holds and imports, as Markdown."""
    parts = between_parts(modules)
    lines = ["| part | modules | imports |", "|---|---|---|"]
    for row in reversed(layers(parts)):
        for part in row:
            members = sorted(m for m in modules if part_of(m) == part)
            names = " ".join(f"`{m}{'/' if (SOURCE / m).is_dir() else ''}`" for m in members)
            lines.append(f"| {part} | {names} | {', '.join(sorted(parts[part])) or 'nothing'} |")
    return "\n".join(lines)


def main(check: bool) -> str:
    """Write picture and page, or say what is wrong; an empty string if all is well."""
    modules = imports()
    try:
        drawn = picture(between_parts(modules))
    except CycleError as circle:
        return f"imports run in a circle: {' -> '.join(circle.args[1])}"
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = f"{before}{BEGIN}\n\n{table(modules)}\n\n{END}{after}"
    if check:
        current = written == page and PICTURE.read_text(encoding="utf-8") == drawn
        return "" if current else "docs/architecture.md is not current: run make architecture"
    PAGE.write_text(written, encoding="utf-8")
    PICTURE.write_text(drawn, encoding="utf-8")
    return ""


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]) or 0)
