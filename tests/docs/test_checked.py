"""A built site: each way to ask another host or to lead nowhere is seen, and nothing else."""

from pathlib import Path

import pytest
from docs.site.checked import problems

RIGHT = """<html><head><link rel="stylesheet" href="a.css?v=1"></head><body>
<h1 id="top">A</h1><a href="b/c.html#part">c</a> <a href="#top">up</a> <img src="a.png">
<a href="https://example.org/elsewhere">somebody presses this</a>
<svg xmlns="http://www.w3.org/2000/svg"></svg></body></html>"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "index.html").write_text(RIGHT)
    (tmp_path / "b" / "c.html").write_text('<p id="part"><a href="../index.html">back</a></p>')
    (tmp_path / "a.css").write_text("/* https://example.org */ a { background: url(a.png); }")
    (tmp_path / "a.js").write_text('// https://example.org\nconst x = "http://www.w3.org/1999";')
    (tmp_path / "a.png").write_bytes(b"")
    return tmp_path


def test_a_site_that_stands_alone_has_no_problem(site: Path) -> None:
    assert problems(site) == []


@pytest.mark.parametrize(
    "element",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<script src="//cdn.example.org/a.js"></script>',
        '<link rel="preconnect" href="https://fonts.example.org">',
        '<link rel="stylesheet" href="https://fonts.example.org/a.css">',
        '<img src="https://example.org/count.gif">',
        '<p style="background: url(https://example.org/a.png)">a</p>',
        '<video poster="https://example.org/a.png"></video>',
    ],
)
def test_what_a_page_loads_from_another_host_is_seen(site: Path, element: str) -> None:
    (site / "index.html").write_text(RIGHT + element)
    assert [line for line in problems(site) if "asks another host" in line]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.css", "@import 'https://fonts.example.org/a.css';"),
        ("a.css", "a { background: url(//example.org/a.png); }"),
        ("a.js", 'fetch("https://example.org/count")'),
        ("a.js", "import('https://cdn.example.org/a.js')"),
    ],
)
def test_what_scripts_and_styles_ask_of_another_host_is_seen(
    site: Path, name: str, text: str
) -> None:
    (site / name).write_text(text)
    assert len(problems(site)) == 1


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("gone.html", "leads nowhere"),
        ("../above.html", "leads nowhere"),
        ("b/", "leads nowhere"),
        ("b/c.html#gone", "names no part"),
        ("#gone", "names no part"),
    ],
)
def test_a_link_that_leads_nowhere_is_seen(site: Path, link: str, said: str) -> None:
    (site.parent / "above.html").write_text("not of the site")
    (site / "index.html").write_text(f'{RIGHT}<a href="{link}">a</a>')
    assert [line for line in problems(site) if said in line and link in line]
