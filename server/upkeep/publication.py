"""A run as it is published: its transcript, and the log of heads as witnesses signed it."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.export import write_signed
from fieldfare.server.store.head_signer import HeadSigner
from fieldfare.server.store.store import RunStore
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, RunError, UsageError
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.system.private_files import move_to_new, sync_folder
from fieldfare.shared.system.whole_files import passing_folder
from fieldfare.shared.transcript.head_log import WitnessedHeads, origin_of
from fieldfare.shared.transcript.notes import COSIGNED, SIGNED, NoteKey, distinct_witnesses

TRANSCRIPT: Final = "run.transcript"
HEADS: Final = "run.witnessed"


@dataclass(frozen=True)
class PublishedRun:
    """The two files that a stranger needs, beside the roster key.

    Attributes:
        transcript, heads: the files.
        witnesses: how many signed the heads.
        size: heads in the log.
    """

    transcript: Path
    heads: Path
    witnesses: int
    size: int


def head_signer(home: CoordinatorHome, passphrase: bytes | None) -> HeadSigner:
    """Return the signer of a coordinator's heads.

    Raises:
        FieldfareError: a key or the settings cannot be read.
    """
    signer = IdentitySigner(load_signing_key(home, passphrase))
    keys = (signing_public(home), roster_public(home))
    return HeadSigner.of(signer, *keys, load_settings(home).witnesses.log)


def log_key(home: CoordinatorHome) -> NoteKey:
    """Return the log's name and key, which the people of a witness enter there.

    Raises:
        FieldfareError: a key or the settings cannot be read.
    """
    origin = origin_of(roster_public(home), load_settings(home).witnesses.log)
    return NoteKey(origin, SIGNED, bytes.fromhex(signing_public(home)))


def witnessed_heads(
    store: RunStore, origin: str, run: str, named: Sequence[NoteKey] | None = None
) -> tuple[WitnessedHeads, int]:
    """Return the log of heads up to a run's newest one, as most witnesses signed it, and how many.

    Args:
        store: the run store.
        origin: the log's name.
        run: whose newest head has to be in it.
        named: witnesses that count, in file and number; None: everybody who ever signed.

    Raises:
        UsageError: no head of this run in the log.
    """
    position = store.newest_position(origin, run)
    if position is None:
        raise UsageError(
            f"run {run}: expected a head in the log of heads, found none: `fieldfare coordinator "
            f"export transcript {run} --out FILE` signs it"
        )
    lines = {
        size: [line for key, line in signed.items() if named is None or _is_one_of(key, named)]
        for size, signed in store.cosigned_lines(origin, run).items()
    }
    size = max(lines, key=lambda one: (len(lines[one]), -one), default=position + 1)
    signed = lines.get(size, [])
    note = store.head_note(origin, size).decode() + "".join(signed)
    return WitnessedHeads(entries=store.head_entries(origin, size), note=note), len(signed)


@contextmanager
def _on_the_disk(path: Path) -> Iterator[BinaryIO]:
    """Give a new file whose bytes are on the disk afterwards, so that a name never leads to less.

    Raises:
        OSError: the disk refuses it.
    """
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _is_one_of(text: str, named: Sequence[NoteKey]) -> bool:
    """Tell whether a key is named: a name alone may have had another key before."""
    return NoteKey.from_text(text, COSIGNED) in named


def publish(home: CoordinatorHome, store: RunStore, run: str, folder: Path) -> PublishedRun:
    """Write a run's transcript and its witnessed heads into a new folder; nothing else.

    Masked vectors are in it as long as they are kept; no key is needed.

    Raises:
        UsageError: no such run, a log that was not signed to its end, or a folder that exists.
        PolicyRefusal: fewer witnesses signed than the settings require.
        RunError: the disk does not do.
    """
    if folder.exists():
        raise UsageError(f"{folder}: expected a new folder, found an existing one")
    settings = load_settings(home).witnesses
    named = distinct_witnesses(one.key for one in settings.witness)
    heads, count = witnessed_heads(store, origin_of(roster_public(home), settings.log), run, named)
    if count < settings.required:
        raise PolicyRefusal(
            RefusalCode.POLICY,
            f"run {run}: expected {settings.required} witnesses of its end, found {count}: see "
            "fieldfare coordinator witnesses, and publish it once they signed",
        )
    made = PublishedRun(folder / TRANSCRIPT, folder / HEADS, count, len(heads.entries))
    try:
        with passing_folder(folder.with_name(f".{folder.name}.publishing")) as passing:
            part = passing / "public"
            part.mkdir()
            with _on_the_disk(part / TRANSCRIPT) as out:
                write_signed(store, run, out)
            with _on_the_disk(part / HEADS) as out:
                out.write(heads.to_bytes())
            sync_folder(part)
            move_to_new(part, folder)
            sync_folder(folder.absolute().parent)
    except FileExistsError:
        raise UsageError(f"{folder}: expected a new folder, found an existing one") from None
    except OSError as error:
        raise RunError(f"{folder}: not written: {error.strerror}: make room and repeat") from None
    return made
