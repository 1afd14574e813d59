"""The sources of the site in one folder: documents as they lie, and what is generated."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from docs.site import commands, names
from docs.site.notebooks import as_notebook, as_page, cells

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"),
    *("GOVERNANCE.md", "MAINTAINERS.md", "CODE_OF_CONDUCT.md", "ROADMAP.md", "CITATION.cff"),
)
FIRST: Final = "first_simulation.py"
_LINES: Final = "```python\nfirst_simulation\n"  # a name, which no formatter of code takes apart
DATA: Final = "FIELDFARE_DATA"
NOTEBOOKS: Final = ROOT / "docs" / "notebooks"
_NOTEBOOK_LINK: Final = re.compile(r"(\]\((?:[\w./-]*/)?notebooks/\w+)\.py\)")


def stage(folder: Path, *, run: bool = False) -> None:
    """Fill `folder` anew with everything that the site is made of; `run`: notebooks are run."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in DOCUMENTS:
        _copy(ROOT / name, folder / name)
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.is_file() and path.parent not in {NOTEBOOKS, ROOT / "docs" / "site"}:
            _copy(path, folder / path.relative_to(ROOT))
    for path in sorted((ROOT / "studies").glob("*.toml")):
        _copy(path, folder / "studies" / path.name)  # followed: some are links into a room
    for name, text in generated(run=run):
        _write(folder / name, text)


def generated(*, run: bool = False) -> Iterator[tuple[str, str]]:
    """Yield what no person writes, as path and text: references, notebooks and their pages."""
    yield "index.md", _start()
    yield from commands.pages()
    yield from names.pages()
    for path in sorted(NOTEBOOKS.glob("*.py")):
        source = path.read_text()
        yield (
            f"docs/notebooks/{path.stem}.md",
            as_page(source, path.stem, run=run and can_run(source)),
        )
        yield f"docs/notebooks/{path.stem}.ipynb", as_notebook(source)
        yield f"docs/notebooks/{path.stem}.py", source


def _start() -> str:
    """Return the first page, at the root of the site, with the first notebook's ten lines.

    Raises:
        ValueError: The page has no place for them.
    """
    text = (ROOT / "docs" / "site" / "index.md").read_text()
    if _LINES not in text:
        raise ValueError(f"docs/site/index.md: expected {_LINES!r} for the ten lines, found none")
    lines = next(one for one in cells((NOTEBOOKS / FIRST).read_text()) if not one.prose).text
    text = _NOTEBOOK_LINK.sub(r"\1.md)", text.replace(_LINES, f"```python\n{lines}\n"))
    text = text.replace("](../../", "](").replace("](../", "](docs/")
    listed = set(re.findall(r"^/(docs/\w[\w-]*)$", text, re.MULTILINE))
    there = {f"docs/{path.stem}" for path in (ROOT / "docs").glob("*.md")}
    return text.replace("/further", "\n".join(f"/{name}" for name in sorted(there - listed)))


def can_run(source: str) -> bool:
    """Whether a notebook has all that it needs here: some read records that nobody may ship."""
    return DATA not in source or DATA in os.environ


def _copy(source: Path, target: Path) -> None:
    if source.suffix == ".md":
        _write(target, _NOTEBOOK_LINK.sub(r"\1.md)", source.read_text()))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
