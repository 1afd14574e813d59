"""The page "Should we join?", and the same on a terminal of 80 columns."""

from importlib import resources
from typing import Any, Final

from markupsafe import Markup
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.text import Text

from fieldfare.shared.joining import TITLE
from fieldfare.shared.joining.words import Figures, answer, picture, sections
from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.terminal.screen import table
from fieldfare.shared.terminal.texts import NARROW

TEMPLATE: Final = resources.files("fieldfare.shared.pages") / "join.html"
PART: Final = resources.files("fieldfare.shared.pages") / "join_part.html"
KEEP: Final = (
    "These figures come from your own records and were not measured under privacy: this page stays "
    "with you."
)
SIMULATED: Final = (
    "These figures come from held-out records themselves, which only a simulation can see."
)


def joining_context(found: Figures) -> dict[str, Any]:
    """Return what the template's macro is given."""
    return {
        "title": TITLE,
        "answer": answer(found),
        "warning": KEEP if found["place"] == "institution" else SIMULATED,
        "sections": sections(found),
        "picture": picture(found),
    }


def join_page(found: Figures) -> str:
    """Return the page as HTML; the same figures give the same bytes."""
    context = {"study": found["study"], "study_id": found["study_id"], **joining_context(found)}
    return page_template(TEMPLATE).render(context)


def join_part(found: Figures) -> Markup:
    """Return what stands below the page's head, for a page that has its own."""
    text = page_template(PART).render(joining_context(found))
    return Markup(text)  # noqa: S704 -- the template escaped what it was filled in with


def join_screen(found: Figures) -> RenderableType:
    """Return the same for a terminal."""
    parts: list[RenderableType] = [Text(f"{TITLE} {answer(found)}", style="bold")]
    for section in sections(found):
        parts += [Text(), Text(section.title, style="bold")]
        if section.rows:
            numbers, first = section.heads[1:], section.heads[:1]
            parts.append(table(section.heads, section.rows, numbers=numbers, whole=first))
        parts.append(Text(section.text))
    return Constrain(Group(*parts, Text(), Text(_kept(found), style="dim")), NARROW)


def _kept(found: Figures) -> str:
    return str(joining_context(found)["warning"])
