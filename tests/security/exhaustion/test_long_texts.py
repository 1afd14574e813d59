"""Texts that a stranger writes cost time in proportion to their length, whatever they say.

A caller's case note reaches `prose_problem`, a coordinator's study the whole parser; both held the
interpreter for a minute once (CWE-1333). Limits are processor time, far above what is needed and
far below what the old patterns took.
"""

import ast
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import rfc8785
from tests.support.homes.institutions import Coordinator, OpenCustody, home_study

import fieldfare
from fieldfare.shared.features.media_gate import prose_problem, text_problem
from fieldfare.shared.protocol.messages import sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import StudyOffer
from fieldfare.shared.study.study import STUDY_TYPE

LIMIT_SECONDS: Final = 1.0
NOTE: Final = 40_000  # characters
OFFER: Final = 62 * 1024  # bytes: what a node takes of a stranger, less its frame
REPEATED: Final = (
    *[
        "(",
        "[",
        ",",
        "1",
        ".1",
        ".1,",
        "1.1e",
        "-",
        "<",
        "data:",
        "data:a/a",
        "\\x",
        "0x",
        "[[",
        ";'",
        "--",
        "/*",
    ],
    *(" ", ", ", "1 ", "1  ", "1 ,", " .1", ".1 ", "url( ", "ab ", "\t\n", "\u2003"),
    "1" + " " * 1300,
)
OFFERED: Final = (" ", "(", "1  ", ".1 ", ", ", "-", "\t\n", "1" + " " * 1300)


def seconds(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


@pytest.mark.parametrize("part", REPEATED)
@pytest.mark.parametrize("gate", [prose_problem, text_problem])
@pytest.mark.parametrize("end", ["", "x", "\0"])
def test_a_hostile_note_is_judged_at_once(part: str, gate: Callable[[str], str], end: str) -> None:
    text = part * (NOTE // len(part)) + end
    assert seconds(lambda: gate(text)) < LIMIT_SECONDS


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """Every pattern of shared, client and server that stands in the code as text."""
    root = Path(fieldfare.__file__).parent.parent
    for part in ("shared", "client", "server"):
        texts = {path: path.read_text() for path in sorted((root / part).rglob("*.py"))}
        for path in (path for path, text in texts.items() if "import re\n" in text):
            for node in ast.walk(ast.parse(texts[path])):
                if isinstance(node, ast.Call) and _is_pattern(node):
                    yield f"{path.name}:{node.lineno}", _compiled(node)


def _is_pattern(node: ast.Call) -> bool:
    name = node.func
    if not (isinstance(name, ast.Attribute) and isinstance(name.value, ast.Name) and node.args):
        return False
    first = node.args[0]
    return (
        name.value.id == "re" and isinstance(first, ast.Constant) and isinstance(first.value, str)
    )


def _compiled(node: ast.Call) -> re.Pattern[str]:
    given = [*node.args[1:], *(one.value for one in node.keywords)]
    flags = re.DOTALL if any("DOTALL" in ast.unparse(one) for one in given) else 0
    pattern: Any = ast.literal_eval(node.args[0])
    return re.compile(pattern, flags)


FOUND: Final = dict(patterns())


def test_the_patterns_are_found() -> None:
    assert len(FOUND) > 50


@pytest.mark.parametrize("where", FOUND)
def test_no_pattern_tries_a_text_again_and_again(where: str) -> None:
    """The gate's old pattern for bytes took twice as long with each further number."""
    pattern = FOUND[where]
    for part in REPEATED:
        text = part * (4000 // len(part)) + "\0"
        assert seconds(partial(pattern.fullmatch, text)) < LIMIT_SECONDS, part


def uses(*texts: str) -> bytes:
    """Canonical text of a study that prohibits these uses, whether or not it may be so long."""
    study = json.loads(home_study().canonical())
    return rfc8785.dumps(study | {"prohibited_uses": list(texts)})


LONG: Final = {
    **{repr(part): (part * (OFFER // len(part)),) for part in OFFERED},
    "uses without end": (" ",) * (OFFER // 4),
    "many that are within bounds": tuple(
        (part * 500)[:500] for part in REPEATED if not prose_problem(part * 200)
    )
    * 4,
}


@pytest.mark.parametrize("texts", LONG.values(), ids=LONG)
def test_a_hostile_offer_is_answered_at_once(
    texts: tuple[str, ...], coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    text = uses(*texts).decode()
    offer = sign_envelope(StudyOffer(study=text), COORDINATOR, coordinator.signer)
    custodian = custody_of().custodian
    study = text_hash(text)
    assert seconds(lambda: custodian.describe(study, b"", offer)) < LIMIT_SECONDS


def text_hash(text: str) -> str:
    return hashlib.sha256(STUDY_TYPE.encode() + b"\0" + text.encode()).hexdigest()
