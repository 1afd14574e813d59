"""Pages that people read: one self-contained file each, without scripts or outside resources.

words.py        numbers and strangers' names as they are written
charts.py       each feature's shape, and where panels.html draws it; without matplotlib
figures.py      figures by matplotlib, for reports of simulations and pictures of answers
templates.py    what every page is filled in with
page.css        the look of them all

Templates of pages: everything that is filled in is escaped, and nothing may be missing.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

import jinja2

from fieldfare.shared.pages import words

# -- templates ------------------------------------------------------------------------------------

PARTS: Final = (
    "page.css",
    "page_head.html",
    "panels.html",
    "answer_tables.html",
    "groups.html",
    "card_sections.html",
    "join_sections.html",
    "join_part.html",
)  # what every page may include


def page_template(template: Traversable) -> jinja2.Template:
    """Return a page's template; it may include the shared parts."""
    folder = resources.files("fieldfare.shared.pages")
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in PARTS}
    texts[template.name] = template.read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (words.decimals, words.signed, words.short, words.percent)
    environment.filters.update({one.__name__: one for one in filters})
    return environment.get_template(template.name)
