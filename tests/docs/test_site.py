"""The site as it is built: alone, whole, the same each time, readable at any width and colour."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.site.__main__ import build
from docs.site.staging import ROOT, generated
from tests.support.browsers.looking import Look, chromium

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("site")]  # one build for all
HASHES = (
    "import hashlib, docs.site.staging as s;"
    "print(hashlib.sha256(repr(list(s.generated())).encode()).hexdigest())"
)
CHECKED = (
    "index",
    "docs/notebooks/first_simulation",
    "reference/cli/fieldfare-institution",
    "docs/institution",
    "docs/results",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert build(out) == []
    return out / "site"


@pytest.fixture
def look(site: Path) -> Iterator[Look]:
    with chromium(site.as_uri(), scripts=True) as found:
        yield found


def test_every_page_asks_nothing_of_another_host_and_fits(site: Path, look: Look) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) > 100
    wide = {}
    for page in pages:
        look.open(f"/{page}")
        for width in (360, 1280):
            look.page.set_viewport_size({"width": width, "height": 900})
            if (found := look.page.evaluate("document.documentElement.scrollWidth")) > width:
                wide[page] = (width, found)
    look.stayed()
    assert look.said == []
    assert wide == {}


def test_a_page_that_would_ask_another_host_is_stopped_by_its_own_policy(
    site: Path, look: Look
) -> None:
    page = site / "asks.html"
    asks = '<body><img src="http://127.0.0.1:9/count.gif">'
    page.write_text((site / "index.html").read_text().replace("<body>", asks))
    try:
        look.open("/asks.html")
        look.page.wait_for_load_state()
        assert [line for line in look.said if "Content Security Policy" in line]
    finally:
        page.unlink()


def test_search_finds_without_a_server(look: Look) -> None:
    look.open("/index.html")
    look.page.get_by_placeholder("Search").fill("multiplicity")
    look.page.get_by_placeholder("Search").press("Enter")
    look.page.locator("#search-results li a").first.wait_for()
    assert look.page.locator("#search-results li").count() > 2
    look.stayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_readable_in_both_colours(look: Look, scheme: str) -> None:
    look.page.emulate_media(color_scheme=scheme)
    for page in CHECKED:
        look.open(f"/{page}.html")
        assert look.findings() == [], page


def test_the_site_takes_what_a_demo_takes_and_sphinx_and_no_torch() -> None:
    plan = subprocess.run(
        ["make", "-n", "-B", "site"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    installed = [line for line in plan.splitlines() if "pip install" in line]
    assert [("[demo]" in line, "[dev]" in line) for line in installed] == [
        (True, False),
        (False, False),
    ]
    assert '["docs"]' in plan


def test_what_is_generated_is_the_same_in_every_process() -> None:
    """Whatever order a set or a file system has."""
    told = [
        subprocess.run(
            [sys.executable, "-c", HASHES],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "FIELDFARE_HOME": f"/home/{seed}"},
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1] != ""


def test_every_command_is_in_the_reference() -> None:
    from fieldfare.shared.cli.root import SUMMARIES

    text = "".join(page for name, page in generated() if name.startswith("reference/cli/"))
    spoken = {name: f"# fieldfare {name.replace('.', ' ')}\n" for name in SUMMARIES}
    assert [name for name, heading in spoken.items() if heading not in text] == []


def test_a_folder_that_is_no_site_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "work.py").write_text("x = 1")
    [said] = build(tmp_path)
    assert "expected a site that was built, or nothing" in said
    assert [path.name for path in tmp_path.rglob("*.*")] == ["work.py"]
