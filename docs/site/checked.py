"""What is wrong with a built site: links that lead nowhere, and what would ask another host."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

# What a browser loads by itself; a link that somebody presses may lead elsewhere.
_LOADED: Final = {"src", "srcset", "poster", "data", "background"}
_LOADING: Final = {"icon", "manifest", "preconnect", "prefetch", "preload", "stylesheet"}  # rels
_HOST: Final = re.compile(r"(?:\w+:)?//[\w.-]+")
_IN_STYLE: Final = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^)'\"]+)")
_IN_SCRIPT: Final = re.compile(r"['\"`](?:https?:|wss?:)?//[\w-]+\.[\w.-]+[^'\"`]*['\"`]")
_REMARK: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE_REMARK: Final = re.compile(r"(?<![:'\"`])//[^\n]*")  # of scripts only
_SPACES: Final = "www.w3.org"  # names of XML's languages, which nobody fetches


@dataclass
class _Page(HTMLParser):
    """The names that a page offers, its links, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one element names, links to and loads."""
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.loaded += [value for name, value in values.items() if name in _LOADED]
        self.loaded += [f"style {found}" for found in _IN_STYLE.findall(values.get("style", ""))]
        if (link := values.get("href")) is not None:
            rels = set(values.get("rel", "").split())
            (self.loaded if tag == "link" and rels & _LOADING else self.links).append(link)


def problems(site: Path) -> list[str]:
    """Return every broken link and every request to another host, one line each; none is right."""
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = [line for path in pages for line in _of_page(path, pages, site)]
    return [*found, *_of_styles_and_scripts(site)]


def _of_styles_and_scripts(site: Path) -> Iterator[str]:
    for path in sorted({*site.rglob("*.css"), *site.rglob("*.js")}):
        text = _REMARK.sub("", path.read_text(encoding="utf-8"))
        style = path.suffix == ".css"
        asked = _IN_STYLE.findall(text) if style else _IN_SCRIPT.findall(_LINE_REMARK.sub("", text))
        for one in asked:
            if _SPACES not in one:
                yield f"{path.relative_to(site)}: asks another host: {one}"


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def _of_page(path: Path, pages: dict[Path, _Page], site: Path) -> Iterator[str]:
    page, name = pages[path], path.relative_to(site)
    for asked in page.loaded:
        if _HOST.match(asked.removeprefix("style ")):
            yield f"{name}: asks another host: {asked}"
    for link in [*page.links, *page.loaded]:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if not target.is_file() or site.resolve() not in target.resolve().parents:
            yield f"{name}: leads nowhere: {link}"
        elif parts.fragment and target in pages and parts.fragment not in pages[target].anchors:
            yield f"{name}: names no part of its target: {link}"
