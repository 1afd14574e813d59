"""Figures by matplotlib: the same bytes, ids of their own, names that are text."""

import re

import pytest

from fieldfare.shared.pages.figures import Drawing, drawing


def line(name: str, title: str = "t", kind: str = "svg") -> Drawing:
    with drawing(name, 3.0, [1.0, 1.0], {"font.size": 9}, kind) as ((first, second), out):
        first.set_title(title)
        second.plot([0, 1], [0, 1])
    return out


@pytest.mark.parametrize(("kind", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_same_figure_has_the_same_bytes(kind: str, begins: bytes) -> None:
    content = line("a", kind=kind).content
    assert content.startswith(begins)
    assert content == line("a", kind=kind).content


def test_figures_of_one_page_share_no_id() -> None:
    first, second = (str(line(name).svg("alt")) for name in "ab")
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_what_strangers_wrote_is_text() -> None:
    found = str(line("a", "<b>$x$ & \u9280").svg('"><script>'))
    assert "<script" not in found
    assert "<b>" not in found
    assert "&lt;b&gt;$x$ &amp; \u9280" in found
    assert "<style" not in found
