"""The links and forms of a console, found by walking it as somebody without scripts does."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import httpx
from tests.support.homes.consoles import Browser

from fieldfare.shared.console.frame import Page

EACH: Final = 3  # addresses of one page, walked


@dataclass
class FoundForm:
    """A form: its fields with what they hold; of a choice, the last that is no empty one."""

    method: str
    action: str
    page: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return urlsplit(self.action).path

    def length(self) -> int:
        """Characters that it holds; the one that holds more leads further."""
        return sum(map(len, self.fields.values()))

    def again(self, browser: Browser) -> "FoundForm":
        """The same form as its page shows it now; itself where the page shows it no more."""
        found = forms_of(self.page, browser.get(self.page).text)
        same = [
            one
            for one in found
            if (one.method, one.path, {*one.fields}) == (self.method, self.path, {*self.fields})
        ]
        return same[0] if same else self

    def send(self, browser: Browser) -> httpx.Response:
        """Send it as it stands; an answer that leads on is followed."""
        answer = browser.sent(self.action, self.again(browser).fields)
        where = answer.headers.get("location")
        followed: httpx.Response = browser.get(where) if where else answer
        return followed


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.page, self.links, self.forms = page, list[str](), list[FoundForm]()
        self._form: FoundForm | None = None
        self._select, self._text, self.follows = "", "", list[str]()
        self._typed: FoundForm | None = None

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        name = said.get("name", "")
        if tag == "a" and said.get("href", "").startswith("/"):
            self.links.append(said["href"].partition("#")[0])
        elif tag == "form":
            self._form = FoundForm(
                said.get("method", "get"), said.get("action", self.page), self.page
            )
            self.forms.append(self._form)
            if said.get("data-check"):  # what a script sends while somebody types
                self._typed = FoundForm("post", said["data-check"], self.page)
                self.forms.append(self._typed)
        if said.get("data-follow"):
            self.follows.append(said["data-follow"])
        elif self._form and tag in {"input", "textarea"} and name:
            self._form.fields[name] = said.get("value", "")
            self._text = name if tag == "textarea" else ""
        elif tag == "select":
            self._select = name
            if self._form:
                self._form.fields.setdefault(name, "")
        elif tag == "option" and self._form and self._select and said.get("value"):
            self._form.fields[self._select] = said["value"]
        elif tag == "button" and self._form and name:
            self._form.fields.setdefault(name, said.get("value", ""))

    def handle_data(self, data: str) -> None:
        if self._form and self._text:
            self._form.fields[self._text] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            if self._form and self._typed:
                self._typed.fields |= self._form.fields
            self._form = self._typed = None
        if tag == "textarea":
            self._text = ""
        if tag == "select":
            self._select = ""


def forms_of(page: str, text: str) -> list[FoundForm]:
    """The forms of a page that stands at the address `page`."""
    reader = _Reader(page)
    reader.feed(text)
    return reader.forms


@dataclass
class Walked:
    """What was found: addresses of each page, its forms, and the patterns of both."""

    pages: dict[str, list[str]] = field(default_factory=dict)
    forms: dict[str, FoundForm] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)

    def read(self, address: str, answer: httpx.Response, pages: Sequence[Page]) -> list[str]:
        """Take the forms of an answer; return the links."""
        if "html" not in answer.headers.get("content-type", ""):
            return []
        reader = _Reader(address)
        reader.feed(answer.text)
        for one in reader.follows:
            self.reached.add(f"GET {pattern_of(one, pages)}")
        for form in reader.forms:
            where = pattern_of(form.path, pages, form.method.upper())
            said = f"{form.method} {where} {','.join(sorted(form.fields))}"
            self.reached.add(f"{form.method.upper()} {where}")
            self.forms[said] = max(self.forms.get(said, form), form, key=FoundForm.length)
        return reader.links


def pattern_of(path: str, pages: Iterable[Page], method: str = "GET") -> str:
    """Return the pattern of the page that answers `path`, or nothing; literal ones come first."""
    fitting = [
        one.path
        for one in pages
        if one.method == method
        and re.fullmatch(re.sub(r"\\{\w+\\}|{\w+}", "[^/]+", re.escape(one.path)), path)
    ]
    return min(fitting, key=lambda one: one.count("{"), default="")


def walk(browser: Browser, pages: Sequence[Page], starts: Iterable[str] = ("/",)) -> Walked:
    """Follow every link from `starts`, at most three addresses of each page and set of filters."""
    waiting, seen = [*starts], set[str]()
    found = Walked()
    while waiting:
        address = waiting.pop(0)
        pattern = pattern_of(urlsplit(address).path, pages)
        kind = f"{pattern}?{','.join(sorted(dict(parse_qsl(urlsplit(address).query))))}"
        some = found.pages.setdefault(kind, [])
        if not pattern or address in seen or len(some) >= EACH:
            continue
        seen.add(address)
        answer = browser.get(address)
        if answer.status_code == HTTPStatus.OK:
            some.append(address)
            found.reached.add(f"GET {pattern}")
            waiting += found.read(address, answer, pages)
    for form in [*found.forms.values()] * 2:  # pages to which forms lead, and those behind them
        if form.method == "post" and form.path != "/log-out":
            found.read(form.page, form.send(browser), pages)
    return found
