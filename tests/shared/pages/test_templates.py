"""Templates escape what they are given and miss nothing silently."""

from pathlib import Path

import jinja2
import pytest

from fieldfare.shared.pages.templates import page_template


def filled_in(folder: Path, text: str, **given: object) -> str:
    path = folder / "page.html"
    path.write_text(text)
    return page_template(path).render(given)


def test_what_is_filled_in_is_escaped(tmp_path: Path) -> None:
    assert filled_in(tmp_path, "{{ name }}", name='<b a="">') == "&lt;b a=&#34;&#34;&gt;"


def test_nothing_may_be_missing(tmp_path: Path) -> None:
    with pytest.raises(jinja2.UndefinedError):
        filled_in(tmp_path, "{{ name }}")


def test_numbers_are_written_by_filters(tmp_path: Path) -> None:
    text = "{{ x|decimals }} {{ x|signed }} {{ x|short }} {{ x|percent }}"
    assert filled_in(tmp_path, text, x=0.12345) == "0.123 +0.123 0.1235 12.3%"


def test_pages_share_their_look(tmp_path: Path) -> None:
    page = filled_in(tmp_path, '{% from "panels.html" import panel_grid %}{% include "page.css" %}')
    assert "--accent" in page


def test_pages_share_their_head(tmp_path: Path) -> None:
    """What a page may load stands once: a new page cannot forget it."""
    assert "default-src 'none'" in filled_in(tmp_path, '{% include "page_head.html" %}')
    folders = ("shared/pages", "simulations/report", "server/answers", "client")
    root = Path(__file__).parents[3]
    pages = [page for one in folders for page in (root / one).rglob("*.html")]
    saying = {page.name for page in pages if "Content-Security-Policy" in page.read_text("utf-8")}
    assert saying == {"page_head.html", "model_card.html"}  # a card refuses forms and bases too
