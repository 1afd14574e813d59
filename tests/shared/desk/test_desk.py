"""A desk: who may ask, what counts as a question, and what becomes of everything else."""

import errno
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

import pytest
from tests.support.system.processes import until

from fieldfare.shared.desk import answering
from fieldfare.shared.desk.answering import Desk, DeskLimits, DeskLine, serving_desk
from fieldfare.shared.desk.asking import DeskClient
from fieldfare.shared.desk.calls import (
    LARGEST_ANSWER,
    LARGEST_ASKED,
    DeskCall,
    DeskTerm,
    DeskWords,
    Nothing,
    error_bytes,
    read_answer,
)
from fieldfare.shared.errors import (
    FieldfareError,
    KeysError,
    LedgerError,
    NeedsPersonError,
    PackageError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    RunError,
    StudyError,
    UsageError,
)
from fieldfare.shared.system.sockets import UnixSocket

ME: Final = os.geteuid()
QUICK: Final = DeskLimits(places=2, arrive_seconds=1.5, read_seconds=1.5)


class Word(DeskTerm):
    """A text, there and back."""

    text: str
    times: int = 1


BIG: Final = Word(text="0123456789abcdef", times=2**18)
SAY: Final = DeskCall("say", Word, Word, 5.0)
FAIL: Final = DeskCall("fail", Word, Nothing, 5.0)
WAIT: Final = DeskCall("wait", Nothing, Nothing, 0.5)
LARGE: Final = DeskCall("large", Nothing, Word, 5.0)
BROKEN: Final = DeskCall("broken", Nothing, Nothing, 5.0)
FULL: Final = DeskCall("full", Nothing, Nothing, 5.0)


class Bench:
    """A desk of a test, and what reached it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.users, self.go = {ME}, Event()
        self.desk = Desk(
            [
                DeskLine(SAY, self.say),
                DeskLine(FAIL, self.fail),
                DeskLine(WAIT, self.wait),
                DeskLine(LARGE, lambda _asked, _user: Word(text="x" * LARGEST_ANSWER)),
                DeskLine(BROKEN, self.broken),
                DeskLine(FULL, self.full),
            ],
            lambda: self.users,
            QUICK,
        )

    def say(self, asked: Word, user: int) -> Word:
        self.heard.append((asked.text, user))
        return Word(text=asked.text * asked.times)

    def fail(self, asked: Word, user: int) -> Nothing:
        del user
        raise LedgerError(asked.text)

    def wait(self, asked: Nothing, user: int) -> Nothing:
        self.go.wait(120)
        self.heard.append(("waited", user))
        return asked

    def broken(self, asked: Nothing, user: int) -> Nothing:
        del asked, user
        raise ZeroDivisionError("MARKER")

    def full(self, asked: Nothing, user: int) -> Nothing:
        del asked, user
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "policy.toml")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def place(bench: Bench, room: Path) -> Iterator[Path]:
    with serving_desk(bench.desk, UnixSocket(room)):
        yield room


@pytest.fixture
def client(place: Path) -> DeskClient:
    return DeskClient(place, ME, "fieldfare start it")


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(60)
        line.connect(os.fspath(path))
        yield line


def heard(path: Path, content: bytes) -> bytes:
    """What the desk says to bytes as they are."""
    with connected(path) as line:
        line.sendall(content)
        line.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: line.recv(65536), b""))


def test_a_question_is_answered_with_who_asked(bench: Bench, client: DeskClient) -> None:
    assert client.runs()
    assert client.ask(SAY, Word(text="ü\n", times=3)).text == "ü\nü\nü\n"
    assert bench.heard == [("ü\n", ME)]


ERRORS: Final = (
    *(UsageError("no"), StudyError(["one", "two"]), PackageError("no"), KeysError("no")),
    *(LedgerError("no"), RunError("no"), PolicyRefusal(RefusalCode.POLICY, "no")),
    ProtocolError("no", RefusalCode.BAD_KEYS),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_are_values_of_the_tree(error: FieldfareError) -> None:
    with pytest.raises(type(error)) as found:
        read_answer(error_bytes(error), Nothing)
    assert str(found.value) == str(error)
    assert getattr(found.value, "code", None) == getattr(error, "code", None)


def test_an_error_of_another_kind_is_still_an_error() -> None:
    with pytest.raises(RunError, match="no"):
        read_answer(error_bytes(NeedsPersonError("no")), Nothing)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"text":"no"}', b'{"answered":{},"error":"RunError","text":"no"}']
)
def test_an_answer_that_is_none_is_not_taken_for_an_error_without_words(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="this version's desk"):
        read_answer(content, Nothing)


def test_an_error_reaches_who_asked(client: DeskClient) -> None:
    with pytest.raises(LedgerError, match="it is locked"):
        client.ask(FAIL, Word(text="it is locked"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"{",
        b"[" * 30_000,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b'{"call": "say"}',
        b'{"call": "say", "asked": {"text": 1}}',
        b'{"call": "say", "asked": {"text": "x", "times": "3"}}',
        b'{"call": "say", "asked": {"text": "x", "more": 1}}',
        b'{"call": "say", "asked": {"text": "x"}, "more": 1}',
        b'{"call": "else", "asked": {}}',
        b'{"call": ["say"], "asked": {}}',
        b'{"call": "say", "asked": {"text": "\\ud800"}}',
    ],
)
def test_garbage_is_an_error_and_does_nothing(bench: Bench, place: Path, content: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_answer(heard(place, content), Nothing)
    assert not bench.heard
    assert b"MARKER" not in heard(place, b"MARKER" + content)


def test_half_a_question_is_none(bench: Bench, place: Path) -> None:
    whole = json.dumps({"call": "say", "asked": {"text": "x"}}).encode()
    for size in range(len(whole)):
        heard(place, whole[:size])
    assert not bench.heard
    heard(place, whole)
    assert bench.heard == [("x", ME)]


def test_what_is_too_large_is_not_read(bench: Bench, client: DeskClient, place: Path) -> None:
    with pytest.raises(UsageError, match="expected a question of at most"):
        client.ask(SAY, Word(text="x" * LARGEST_ASKED))
    whole = json.dumps({"call": "say", "asked": {"text": "x" * LARGEST_ASKED}}).encode()
    with suppress(BrokenPipeError, ConnectionResetError):
        assert heard(place, whole) == b""
    assert not bench.heard
    with pytest.raises(RunError, match="fits on a page"):
        client.ask(LARGE, Nothing())


def test_another_user_is_refused_before_anything_is_read(
    bench: Bench, client: DeskClient, place: Path
) -> None:
    bench.users = {ME + 1}
    with pytest.raises(UsageError, match=f"found number {ME}"):
        client.ask(SAY, Word(text="x"))
    with connected(place) as line:  # it said nothing, and has its answer
        assert b"may ask the desk" in line.recv(65536)
    assert not bench.heard
    bench.users = {ME}  # looked up for each question
    assert client.ask(SAY, Word(text="x")).text == "x"


def test_nothing_is_told_to_another_users_desk(bench: Bench, place: Path) -> None:
    with pytest.raises(UsageError, match="nothing was asked"):
        DeskClient(place, ME + 1, "").ask(SAY, Word(text="a code"))
    time.sleep(0.05)
    assert not bench.heard


def test_a_desk_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    client = DeskClient(tmp_path / "none.sock", ME, "fieldfare start it")
    assert not client.runs()
    with pytest.raises(RunError, match="start it with `fieldfare start it`"):
        client.ask(SAY, Word(text="x"))


def test_who_says_nothing_is_let_go(bench: Bench, place: Path) -> None:
    with ExitStack() as stack:
        lines = [stack.enter_context(connected(place)) for _ in range(QUICK.places)]
        for line in lines:
            assert line.recv(1) == b""  # closed, after the time to arrive
    assert heard(place, b"{")
    assert not bench.heard


def test_who_does_not_read_its_answer_is_let_go(
    bench: Bench, client: DeskClient, place: Path
) -> None:
    """More than the socket holds: a place is free again after the time to read."""
    with ExitStack() as stack:
        for _ in range(QUICK.places):
            line = stack.enter_context(connected(place))
            line.sendall(json.dumps({"call": "say", "asked": BIG.model_dump()}).encode())
            line.shutdown(socket.SHUT_WR)
        until(lambda: "busy" in said(client))
        until(lambda: said(client) == "")
        assert bench.heard.count((BIG.text, ME)) == QUICK.places  # what was done stands


@pytest.mark.parametrize("call", [BROKEN, WAIT, SAY], ids=lambda call: call.name)
def test_messages_call_what_answers_by_the_name_that_its_maker_gives(
    bench: Bench, room: Path, call: DeskCall[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = DeskWords("the custodian", "ask again")
    desk = Desk(list(bench.desk._lines.values()), lambda: bench.users, QUICK, words)
    bench.users = set() if call is SAY else {ME}
    with serving_desk(desk, UnixSocket(room)):
        asked = Word(text="x") if call is SAY else Nothing()
        with pytest.raises((RunError, UsageError)) as found:
            DeskClient(room, ME, "", words).ask(call, asked)
        bench.go.set()
    assert "the custodian" in str(found.value)
    assert not {"desk", "page"} & set(str(found.value).replace("'", " ").split())


def test_places_are_few_and_come_free(bench: Bench, client: DeskClient, place: Path) -> None:
    with ExitStack() as stack:
        for _ in range(QUICK.places):
            line = stack.enter_context(connected(place))
            line.sendall(b'{"call": "wait", "asked": {}}')
            line.shutdown(socket.SHUT_WR)
        until(lambda: "busy" in said(client))
        bench.go.set()
        until(lambda: said(client) == "")
    until(lambda: bench.heard.count(("waited", ME)) == QUICK.places)


def test_a_place_is_free_before_its_line_closes(
    bench: Bench, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks one question after the other was told that the desk is busy, now and then."""
    submit = ThreadPoolExecutor.submit

    def late(self: ThreadPoolExecutor, *given: Any) -> Any:
        done = submit(self, *given)
        add = done.add_done_callback

        def told_late(told: Callable[[Any], object]) -> None:
            def later(over: Any) -> None:
                time.sleep(0.5)
                told(over)

            add(later)

        monkeypatch.setattr(done, "add_done_callback", told_late)
        return done

    monkeypatch.setattr(ThreadPoolExecutor, "submit", late)
    for _ in range(QUICK.places + 1):
        assert b"busy" not in heard(place, b"{")
    assert not bench.heard


def test_an_act_goes_on_where_nobody_waits_any_more(bench: Bench, client: DeskClient) -> None:
    timed_out(client)
    assert ("waited", ME) not in bench.heard
    bench.go.set()
    until(lambda: ("waited", ME) in bench.heard)


def timed_out(client: DeskClient) -> None:
    with pytest.raises(RunError, match="goes on: open this page again"):
        client.ask(WAIT, Nothing())


def said(client: DeskClient) -> str:
    """What the desk has against a question; nothing where it answers."""
    try:
        client.ask(SAY, Word(text="busy?"))
    except RunError as error:
        return str(error)
    return ""


def test_a_defect_says_nothing_but_that_it_ended(
    client: DeskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RunError, match="found that it ended"):
        client.ask(BROKEN, Nothing())
    until(lambda: "ZeroDivisionError" in caplog.text)
    assert "MARKER" not in caplog.text


def test_a_full_disk_is_said_to_who_asked_and_in_the_log(
    client: DeskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RunError, match="found: No space left"):
        client.ask(FULL, Nothing())
    assert "policy.toml: No space left" in caplog.text


class FewFiles(socket.socket):
    """A listener whose process has too many files open, at first."""

    failed = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.failed += 1
        if self.failed <= 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


def test_a_desk_outlives_a_moment_without_free_files(
    bench: Bench, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def few(path: Path) -> Iterator[socket.socket]:
        with FewFiles(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(os.fspath(path))
            listener.listen()
            yield listener

    monkeypatch.setattr(answering, "named", few)
    with serving_desk(bench.desk, UnixSocket(room)):
        assert DeskClient(room, ME, "").ask(SAY, Word(text="there")).text == "there"


def test_a_call_stands_once() -> None:
    line = DeskLine(SAY, Bench().say)
    with pytest.raises(UsageError, match="found one twice"):
        Desk([line, line], set)


def test_questions_in_work_are_finished(bench: Bench, room: Path) -> None:
    with serving_desk(bench.desk, UnixSocket(room)):
        timed_out(DeskClient(room, ME, ""))
        bench.go.set()
    assert bench.heard == [("waited", ME)]
    assert not room.exists()
