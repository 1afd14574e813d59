"""What somebody types into a form who wants it to run, to leak or to fall over: 2,000 lines.

A fixed seed puts them together from tables; a new trick is a line of one. `RAN` and what stands
beside it are marks to look for in answers: raw, they would be markup, code or a header.
"""

import random
from collections.abc import Sequence
from typing import Final

SEED: Final = 16
LINES: Final = 2_000
TAG: Final = b"<zq9"
QUOTED: Final = b'"zq9='
PRODUCT: Final = (b"{{1203*1207}}", b"1452021")
HEADER: Final = b"zq9-header"

SCRIPTS: Final = (
    b"<zq9 onload=alert(1)>", b"<zq9><script>alert(1)</script>", b'"zq9="><script src=//x.example>',
    b"'zq9='><img src=x onerror=alert(1)>", b"<zq9 src=javascript:alert(1)>", b"</textarea><zq9>",
    b"</title><zq9>", b"--><zq9>", b"]]><zq9>", b"<zq9 xmlns=x><svg/onload=alert(1)>",
    b'" autofocus onfocus=alert(1) "zq9="', b"&lt;zq9&gt;<zq9>", b"<zq9 style=behavior:url(x)>",
    b"<zq9\x0bonload=alert(1)>", b"<zq9/**/onload=alert(1)>", b"javascript:alert(1)",
    b"data:text/html,<zq9>", b"<meta http-equiv=refresh content=0;url=//x.example><zq9>",
)  # fmt: skip
TEMPLATES: Final = (
    PRODUCT[0], b"{{ visit.parts.book }}", b"{{config}}", b"{% include 'layout.html' %}",
    b"{% for x in ().__class__.__base__.__subclasses__() %}{{x}}{% endfor %}", b"${1203*1207}",
    b"#{1203*1207}", b"<%= 1203*1207 %>", b"{0.__class__}", b"%(x)s %s %n %x", b"{visit}", b"$HOME",
    b"$(id)", b"`id`", b"; rm -rf .; #", b"' --help", b"--home=/", b"=cmd|' /C calc'!A0",
    b"@SUM(1)",
)  # fmt: skip
PATHS: Final = (
    b"../../../../etc/passwd", b"..%2f..%2fetc%2fpasswd", b"....//....//etc/passwd", b"/etc/passwd",
    b"file:///etc/passwd", b"\\\\host\\share", b"C:\\x", b"..\\..\\x", b"%2e%2e/",
    b"/proc/self/environ",
    b"//x.example/", b"http://x.example/", b"alerts.sqlite", b"../alerts.sqlite", b".", b"..",
    b"~root",
    b"x/../../y", b"con", b"a" * 300,
)  # fmt: skip
BYTES: Final = (
    b"\x00", b"x\x00y", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80", b"\xe2\x80",
    "\u202egpj.exe".encode(), "\u200b\u2060\ufeff".encode(), "\u2066x\u2069\u2068".encode(),
    b"\xcc\x81" * 200, "\U0001d54f\U0001f3f3\ufe0f\u200d\U0001f308".encode(),
    "\ufdfa".encode() * 50,
    b"\x1b[2J\x1b]0;x\x07", b"\x7f\x08\x0c", b"\r\n", b"\n" * 50, "\u2028\u2029".encode(),
    "\u0430nna".encode(), "\uff21\uff2e\uff2e\uff21".encode(), "\u0131 \u0130 \u00df".encode(),
    b"\t", b" ", b"",
)  # fmt: skip
NUMBERS: Final = (
    b"-1", b"0", b"1e309", b"NaN", b"inf", b"9" * 400, b"0x10", b"1_000",
    "\u0661\u0662".encode(), "\u00b2".encode(), b"1.5",
    b" 7 ", b"+7",
    b"00000000000000001", b"2147483648", b"9223372036854775808", b"-0", b"true",
    b"null", b"[]", b"{}", b'{"a": 1}', b"[[[[[[[[", b"2026-13-45", b"0000-00-00", b"99999-01-01",
)  # fmt: skip
QUERIES: Final = (
    b"' OR '1'='1", b"'; DROP TABLE alert; --", b'" OR ""="', b"x') UNION SELECT * FROM account --",
    b"%' AND 1=1", b"*", b"?", b"_", b"%", b"tier=3&state=all", b"a&b=c", b"a=b&a=c", b"a;b", b"#x",
    b"x\r\nzq9-header: 1", b"x\nSet-Cookie: zq9-header=1", b"%0d%0azq9-header:%201", b"+", b"%",
    b"%zz", b"%u0041", b"after=%ff", b"1,2,3",
)  # fmt: skip
LARGE: Final = (b"x" * 5_000, b"<zq9>" * 2_000, b"x" * 60_000, b"y" * 70_000, b"z" * 1_000_000)
KINDS: Final = (SCRIPTS, TEMPLATES, PATHS, BYTES, NUMBERS, QUERIES)


def hostile_lines(lines: int = LINES, seed: int = SEED) -> list[bytes]:
    """Return so many values, bytes as a field would have them: each trick alone, then mixtures."""
    alone = [one for kind in KINDS for one in kind] + list(LARGE)
    drawn = random.Random(seed)  # noqa: S311 -- the same lines every night
    mixed = [_mixed(drawn) for _ in range(max(0, lines - len(alone)))]
    return [*alone, *mixed][:lines]


def _mixed(drawn: random.Random) -> bytes:
    parts = [drawn.choice(_kind(drawn)) for _ in range(drawn.randint(2, 4))]
    joined = drawn.choice((b"", b" ", b"&", b"/", b"'", b'"', b"\x00", b"\n")).join(parts)
    return joined if len(joined) < 8_000 else joined[:8_000]


def _kind(drawn: random.Random) -> Sequence[bytes]:
    return drawn.choice(KINDS)
