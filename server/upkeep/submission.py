"""How a witness is asked to sign the newest checkpoint: C2SP tlog-witness, "add-checkpoint".

It learns how many heads there are and hashes, nothing else. Nothing that it says is believed but a
valid signature by the key that the settings name; its words reach no log, and its redirects lead
nowhere. No run waits for it.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import httpx

from fieldfare.server.home.settings import WitnessSection
from fieldfare.server.store.head_log import HeadLogTables
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.merkle import consistency_path
from fieldfare.shared.transcript.notes import (
    COSIGNED,
    Note,
    NoteKey,
    add_checkpoint_body,
    signatures_in,
)

CONNECTION_SECONDS: Final = 10.0  # for each read and write
MOST_SECONDS: Final = 30.0  # for all of it
LARGEST_ANSWER: Final = 64 * 1024  # bytes
SIGNED_IT: Final = 200
CONFLICT: Final = 409
_TRIES: Final = 2  # the second after it said which size it knows
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_MEANINGS: Final = {
    400: "it does not read our requests",
    403: "it does not know this key: give its people what `coordinator witnesses` shows",
    404: "it does not know the log: give its people what `coordinator witnesses` shows",
    422: "it says that the log did not grow from the one that it signed",
}


@dataclass(frozen=True)
class WitnessAnswer:
    """What came back: an HTTP status and at most 64 KiB."""

    status: int
    content: bytes


class WitnessUnreachableError(ProtocolError):
    """No answer that could be read; the text says why, in words of our own."""


Post = Callable[[str, bytes], WitnessAnswer]


@dataclass(frozen=True)
class WitnessStanding:
    """How far a witness signed the log.

    Attributes:
        key: its own.
        url: where it is asked.
        cosigned: heads that it signed, from the first on.
        size: heads in the log.
        trouble: why it did not sign all of them, where it was asked; else empty.
    """

    key: NoteKey
    url: str
    cosigned: int
    size: int
    trouble: str = ""


def standing(store: HeadLogTables, origin: str, witness: WitnessSection) -> WitnessStanding:
    """Return how far a witness signed the log, without asking it."""
    key = NoteKey.from_text(witness.key, COSIGNED)
    cosigned = store.cosigned_sizes(origin).get(witness.key, 0)
    return WitnessStanding(key, witness.url, cosigned, store.head_log_size(origin))


def ask_witness(
    store: HeadLogTables, origin: str, witness: WitnessSection, post: Post
) -> WitnessStanding:
    """Let a witness sign the newest checkpoint, unless it did; keep what it signed.

    Args:
        store: holds the log.
        origin: of the log.
        witness: who is asked.
        post: sends one request.
    """
    seen = standing(store, origin, witness)
    if seen.cosigned == seen.size:
        return seen
    try:
        line = _signed_line(store, origin, seen, post)
    except ProtocolError as error:
        return replace(seen, trouble=str(error))
    store.put_cosigned(origin, seen.size, witness.key, line)
    return replace(seen, cosigned=seen.size)


def _signed_line(store: HeadLogTables, origin: str, seen: WitnessStanding, post: Post) -> str:
    """Ask, and once more from the size that the witness says it knows.

    Raises:
        ProtocolError: it did not sign; says why.
    """
    note, old = store.head_note(origin, seen.size), seen.cosigned
    hashes = [entry.hash for entry in store.head_entries(origin, seen.size)]
    url = seen.url.rstrip("/") + "/add-checkpoint"
    for _ in range(_TRIES):
        answer = post(url, add_checkpoint_body(old, consistency_path(hashes, old), note))
        if answer.status == SIGNED_IT:
            return _verified_line(note, answer.content, seen.key)
        if answer.status != CONFLICT:
            break
        old = _known_size(answer.content, seen.size)
    meaning = _MEANINGS.get(answer.status, "expected its signature")
    raise ProtocolError(f"it answered {answer.status}: {meaning}")


def _known_size(content: bytes, size: int) -> int:
    """Return the size that a witness says it signed last.

    Raises:
        ProtocolError: no size, or more heads than there are here.
    """
    if _SIZE.fullmatch(content) is None:
        raise ProtocolError("it answered 409: expected the size that it knows, found another text")
    if int(content) > size:
        raise ProtocolError(
            f"it signed {int(content)} heads, this home has {size}: the home is behind (a backup "
            "was restored, or another copy goes on): begin a new log with `log` of [witnesses]"
        )
    return int(content)


def _verified_line(note: bytes, content: bytes, key: NoteKey) -> str:
    """Return the line of a witness's signature on a note.

    Raises:
        ProtocolError: none by this key, or none that is valid.
    """
    try:
        lines = signatures_in(content.decode())
    except UnicodeDecodeError:
        raise ProtocolError("expected signature lines in its answer, found other bytes") from None
    mine = tuple(one for one in lines if (one.name, one.id) == (key.name, key.id))
    if Note(Note.from_bytes(note).text, mine).cosigned_at(key) is None:
        raise ProtocolError("expected a signature by its key in its answer, found none")
    return mine[0].line


def poster(seconds: float = MOST_SECONDS) -> Post:
    """Return what sends one request over HTTPS, or HTTP to this machine, to that URL alone.

    Args:
        seconds: for all of it, however slowly a head or an answer comes.
    """

    def post(url: str, body: bytes) -> WitnessAnswer:
        """Send a body, and read an answer of bounded size in bounded time."""
        try:
            return asyncio.run(_answered(url, body, seconds))
        except (TimeoutError, httpx.TimeoutException):
            raise WitnessUnreachableError("it gave no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError):
            raise WitnessUnreachableError(
                "no connection, no valid certificate, or no HTTP answer"
            ) from None

    return post


async def _answered(url: str, body: bytes, seconds: float) -> WitnessAnswer:
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(
            trust_env=False,  # no proxy and no password that an environment names
            follow_redirects=False,
            timeout=CONNECTION_SECONDS,
        ) as client,
        client.stream("POST", url, content=body) as answer,
    ):
        content = bytearray()
        async for piece in answer.aiter_raw():
            content += piece
            if len(content) > LARGEST_ANSWER:
                raise WitnessUnreachableError("its answer is too long")
        return WitnessAnswer(answer.status_code, bytes(content))
