"""What a deed enters of our own source, in order, and the way that docs/architecture.md draws."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

ROOT: Final = Path(__file__).parents[3]
ROW: Final = re.compile(r"^\| \d+ \| `([a-z_/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)

Step = tuple[str, str]  # a file and a function's qualified name


def drawn(title: str) -> list[Step]:
    """The rows of the table under a heading."""
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    found = ROW.findall(text.partition(f"\n## {title}\n")[2].partition("\n## ")[0])
    assert found, title
    return found


def files_of(steps: list[Step]) -> set[str]:
    return {file for file, _ in steps}


class Walk:
    """What was entered first, of functions of this source, while something is noted."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._here = False

    def note(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if not self._here or event != "call" or not name.startswith(f"{ROOT}/"):
            return
        step = name.removeprefix(f"{ROOT}/"), frame.f_code.co_qualname
        if step not in self.steps:
            self.steps.append(step)

    @contextmanager
    def noted(self) -> Iterator[None]:
        self._here = True
        try:
            yield
        finally:
            self._here = False


@contextmanager
def walking() -> Iterator[Walk]:
    """A walk that every thread is on which begins meanwhile."""
    walk, before = Walk(), sys.getprofile()
    threading.setprofile(walk.note)
    sys.setprofile(walk.note)
    try:
        yield walk
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
