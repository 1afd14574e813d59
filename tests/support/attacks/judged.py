"""What no answer of a console may hold or do, whatever was typed."""

import re
from collections.abc import Iterable
from html import unescape
from typing import Final

import httpx
from tests.support.attacks.hostile_lines import HEADER, PRODUCT, QUOTED, TAG

from fieldfare.shared.console.shield import HEADERS

TOLD: Final = re.compile(
    r"Traceback|File \"|line \d+, in |\.py\b|sqlite3|jinja2|starlette|pydantic_core"
    r"|site-packages|pytest-of-"
)


def judge(answer: httpx.Response, said: str, secrets: Iterable[str] = ()) -> None:
    """Nothing ran, nothing leaked, an error is a page with every header; `said` names the try."""
    body = answer.content
    assert answer.status_code < 500, f"{said}: {answer.status_code}"
    for name, value in HEADERS:
        assert answer.headers.get(name.decode()) == value.decode(), said
    assert HEADER.decode() not in answer.headers, said
    assert HEADER.decode() not in answer.headers.get("set-cookie", ""), said
    assert PRODUCT[1] not in body, said
    saved = answer.headers.get("content-disposition", "").startswith("attachment;")
    assert saved or TAG not in body, said
    assert saved or QUOTED not in body, said
    where = answer.headers.get("location", "/")
    assert where.startswith("/"), said
    assert not where.startswith("//"), said
    _kept_to_itself(answer, said, secrets)


def _kept_to_itself(answer: httpx.Response, said: str, secrets: Iterable[str]) -> None:
    text = unescape(answer.text)
    assert not [one for one in secrets if one in text], said
    if answer.status_code >= 400 and "html" in answer.headers.get("content-type", ""):
        assert "<h1>" in answer.text, said
        assert not TOLD.search(text), said
