"""Notebooks: Python files in cells (`# %%`), which Jupyter, VS Code and Python itself read.

The same text is a page of the site and an `.ipynb` without outputs; neither is edited by hand.
"""

import ast
import contextlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

_MARK: Final = re.compile(r"^# %%(?: \[(markdown)\])?$\n", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A part of a notebook: prose in Markdown, or code."""

    prose: bool
    text: str


def cells(source: str) -> list[Cell]:
    """Return the cells of a Python file, in order.

    Raises:
        ValueError: The file has something before its first cell, or prose that is no comment.
    """
    before, *parts = _MARK.split(source)
    if before.strip():
        raise ValueError(f"expected `# %%` on the first line, found {before.splitlines()[0]!r}")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    found = [Cell(bool(kind), _uncommented(text) if kind else text.strip()) for kind, text in pairs]
    return [cell for cell in found if cell.text]


def _uncommented(text: str) -> str:
    lines = text.strip().splitlines()
    if wrong := [line for line in lines if not line.startswith("#")]:
        raise ValueError(f"expected prose behind `#`, found {wrong[0]!r}")
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def as_page(source: str, name: str, *, run: bool = False) -> str:
    """Return the page of a notebook, as Markdown that offers both of its files.

    Args:
        source: The notebook.
        name: Of its files, without an ending.
        run: Whether to run it first, and show below each cell what it showed.
    """
    parts = executed(source, name) if run else ((cell, []) for cell in cells(source))
    blocks = [text for cell, shown in parts for text in (_block(cell), *shown)]
    heading, _, first = blocks[0].partition("\n")
    files = f"As a [notebook]({name}.ipynb) or a [Python file]({name}.py)."
    return "\n\n".join([heading, files, first.strip(), *blocks[1:]]) + "\n"


def _block(cell: Cell) -> str:
    return _linked(cell.text) if cell.prose else f"```python\n{cell.text}\n```"


def _linked(prose: str) -> str:
    return re.sub(r"\]\((\w+)\.py\)", r"](\1.md)", prose)  # to the page of another notebook


def as_notebook(source: str) -> str:
    """Return the notebook as JSON (nbformat 4.5), without outputs."""
    content: dict[str, Any] = {
        "cells": [_as_cell(number, cell) for number, cell in enumerate(cells(source))],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1) + "\n"


def _as_cell(number: int, cell: Cell) -> dict[str, Any]:
    both = {"id": f"cell-{number}", "metadata": {}, "source": cell.text.splitlines(keepends=True)}
    if cell.prose:
        return {"cell_type": "markdown", **both}
    return {"cell_type": "code", **both, "execution_count": None, "outputs": []}


def executed(source: str, name: str) -> Iterator[tuple[Cell, list[str]]]:
    """Run a notebook in this process, as Jupyter would; yield each cell with what it showed.

    What a cell shows is Markdown: its printed text, then the value of its last line as HTML where
    it has that form (`_repr_html_`), else as text.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(source):
        yield cell, [] if cell.prose else _shown(cell.text, name, scope)


def _shown(code: str, name: str, scope: dict[str, Any]) -> list[str]:
    tree = ast.parse(code, name)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    value, said = None, io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(tree, name, "exec"), scope)  # noqa: S102 -- our own notebooks
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), scope)  # noqa: S307
    shown = [_fenced("text", said.getvalue().rstrip())] if said.getvalue().strip() else []
    if value is not None:
        html = getattr(value, "_repr_html_", None)
        shown.append(_fenced("{raw} html", html()) if html else _fenced("text", repr(value)))
    return shown


def _fenced(kind: str, text: str) -> str:
    return f"````{kind}\n{text}\n````"
