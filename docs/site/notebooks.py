"""Notebooks: Python files in cells (`# %%`), which Jupyter, VS Code and Python itself read.

The same text is a page of the site and an `.ipynb` without outputs; neither is edited by hand.
"""

import json
import re
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


def as_page(source: str, name: str) -> str:
    """Return the page of a notebook, as Markdown that offers both of its files."""
    title, *rest = (
        cell.text if cell.prose else f"```python\n{cell.text}\n```" for cell in cells(source)
    )
    files = f"As a [notebook]({name}.ipynb) or a [Python file]({name}.py)."
    heading, _, first = title.partition("\n")
    return "\n\n".join([heading, files, first.strip(), *rest]) + "\n"


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
