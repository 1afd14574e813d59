"""The end of every run: co-signatures on the transcript's head, then the delivery of the model.

Every institution gets the model, its card, and a signature on both.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.store.head_signer import HeadSigner
from fieldfare.server.store.store import RunStore
from fieldfare.shared.canonical import bytes_hash, claimed
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.finished_model.card_writing import CardFacts, write_card
from fieldfare.shared.finished_model.file import model_to_bytes
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.flower_record import Call, Content, bytes_of, refusal_in
from fieldfare.shared.protocol.messages import Signer, open_envelope, sign_envelope
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, replace_private
from fieldfare.shared.transcript.heads import MOST_SHOWN, MOST_VECTORS, UNTRAVELLED, CosignedHead
from fieldfare.shared.transcript.leaves import Leaf, LeafKind, TreeHead


@dataclass(frozen=True)
class ComposedDelivery:
    """A finished model, ready to be kept and sent.

    Attributes:
        delivery: the signed content.
        envelope: the signed bytes (`delivery.signed`).
        model: a safetensors file (`model.safetensors`).
        card: the model card's canonical JSON (`card.json`).
    """

    delivery: Delivery
    envelope: bytes
    model: bytes
    card: bytes


def compose(
    plan: Plan, parameters: NDArray[np.float64], facts: CardFacts, signer: Signer, at: datetime
) -> ComposedDelivery:
    """Write a finished model's files and sign their hashes; the same arguments, the same bytes.

    Args:
        plan: of the study.
        parameters: float64 (entries,), the averaged iterates (`TrainingState.model`).
        facts: about the run: its id, the roster's hash, how many took part, steps, what the
            institution that answered most was debited, failed attempts, what `evaluate`
            released (None: noise hid it), and size and root of the transcript.
        signer: the coordinator's.
        at: the time that the card shows, with a time zone; keep it for a repeat.

    Raises:
        ProtocolError: parameters that are no model of the study.
    """
    model = model_to_bytes(plan.study, facts.run, parameters)
    card = write_card(plan, parameters, facts, at)
    content = card.to_bytes()
    delivery = Delivery(
        study=plan.study.id,
        run=facts.run,
        model=card.model.parameters,
        file=bytes_hash(model),
        card=bytes_hash(content),
    )
    return ComposedDelivery(delivery, sign_envelope(delivery, COORDINATOR, signer), model, content)


# -- closing --------------------------------------------------------------------------------------

log = logging.getLogger(__name__)

LEFT_SECONDS: Final = 5.0  # for those who left: they may be back

Nodes = Mapping[str, int]  # node id by institution


@dataclass(frozen=True)
class RunCloser:
    """The end of a run, or of a part of it.

    Attributes:
        channel: the nodes.
        store: the run store.
        roster: whose keys co-signatures are checked against.
        signer: the coordinator's.
        deadline_seconds: for each exchange; who is late gets it at the next run.
        left: institutions that the run went on without; the run does not wait long for them.
        log: which of the coordinator's logs of heads this one goes into.
    """

    channel: GridChannel
    store: RunStore
    roster: Roster
    signer: Signer
    deadline_seconds: float
    left: frozenset[str] = frozenset()
    log: int = 1

    def sign(self, study: str, run: str) -> TreeHead:
        """Sign the head over everything that the run's log holds now, and keep it."""
        keys = (self.roster.coordinator, self.roster.roster_key)
        signer = HeadSigner.of(self.signer, *keys, self.log)
        return signer.sign(self.store, study, run, self.store.leaf_hashes(run))

    def cosign(self, head: TreeHead, nodes: Nodes) -> frozenset[str]:
        """Ask institutions to co-sign a head; returns those that did.

        They are shown the log, and the vectors of the sums that travelled with no request.
        """
        answers = self._ask(Call.COSIGN, dict.fromkeys(nodes, self._show_head(head)), nodes)
        return frozenset(
            institution
            for institution, node in nodes.items()
            if self._took(head, institution, answers.get(node))
        )

    def _show_head(self, head: TreeHead) -> Content:
        """Return a head and its log; the leaves' hashes where one message does not hold these."""
        content: Content = {
            "study": head.study.encode(),
            "run": head.run.encode(),
            "head": sign_envelope(head, COORDINATOR, self.signer),
        }
        leaves = self.store.leaves(head.run)[: head.size]
        log = b"\n".join(leaf.to_bytes() for leaf in leaves)
        if len(log) > MOST_SHOWN:
            content["hashes"] = b"".join(self.store.leaf_hashes(head.run)[: head.size])
            return content
        content["log"] = log
        blobs = [self.store.blob(name) for name in find_untravelled(leaves)]
        vectors = [vector for vector in blobs if vector is not None]
        if 0 < len(vectors) <= MOST_VECTORS and len(log) + sum(map(len, vectors)) <= MOST_SHOWN:
            content["vectors"] = vectors
        return content

    def deliver(self, nodes: Nodes, folder_of: Callable[[str], Path]) -> None:
        """Send every model that these institutions have yet to receive."""
        wanted: dict[str, dict[str, int]] = {}
        for institution, node in nodes.items():
            for run in self.store.undelivered(institution):
                wanted.setdefault(run, {})[institution] = node
        for run, receivers in wanted.items():
            content = kept_delivery(folder_of(run))
            answers = self._ask(Call.DELIVER, dict.fromkeys(receivers, content), receivers)
            for institution, node in receivers.items():
                if "received" in answers.get(node, {}):
                    self.store.set_delivered(institution, run)
                else:
                    log.warning("%s did not take the model of run %s", institution, run)

    def _ask(
        self, call: Call, contents: Mapping[str, Content], nodes: Nodes
    ) -> dict[int, Mapping[str, Any]]:
        """Ask institutions; those who left come last, and have less time."""
        present, left = (
            {nodes[name]: contents[name] for name in contents if (name in self.left) is gone}
            for gone in (False, True)
        )
        answers = self.channel.ask(call, present, self.deadline_seconds)
        return answers | self.channel.ask(call, left, min(LEFT_SECONDS, self.deadline_seconds))

    def _took(self, head: TreeHead, institution: str, answer: Mapping[str, Any] | None) -> bool:
        """Keep a co-signature, if it is one."""
        if answer is None:
            return False
        try:
            envelope = _read_cosignature(answer, head, institution, self.roster)
        except ProtocolError as error:
            log.warning("%s did not co-sign run %s: %s", institution, head.run, error)
            return False
        self.store.put_cosignature(head.run, institution, envelope, head.size)
        return True


def find_untravelled(leaves: Sequence[Leaf]) -> Iterator[str]:
    """Yield the hashes of the vectors that were summed and travelled with no later request."""
    kind, names = "", list[str]()
    for leaf in leaves:
        if leaf.kind is LeafKind.REQUEST:
            kind, names = claimed(leaf.content, "kind") or "", []
        elif leaf.kind is LeafKind.REPLY:
            names.append(claimed(leaf.content, "vector") or "")
        elif leaf.kind is LeafKind.SUM and kind in {one.value for one in UNTRAVELLED}:
            yield from names


def _read_cosignature(
    answer: Mapping[str, Any], head: TreeHead, institution: str, roster: Roster
) -> bytes:
    """Return an institution's co-signature on this head.

    Raises:
        ProtocolError: a refusal, another head, or another party's signature.
    """
    refusal = refusal_in(answer)
    if refusal is not None:
        raise ProtocolError(f"refused with {refusal.code.value}")
    envelope = bytes_of(answer, "cosigned")
    opened = open_envelope(envelope, CosignedHead, roster, Protection.EXACT)
    if (opened.signer, opened.body.head) != (institution, head):
        raise ProtocolError("expected the same head by its own signer, found another")
    return envelope


def keep_delivery(folder: Path, composed: ComposedDelivery) -> None:
    """Write a run's delivery into its folder; the signature last.

    Raises:
        RunError: the disk is full or not writable.
    """
    try:
        folder.parent.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        replace_private(folder / "model.safetensors", composed.model)
        replace_private(folder / "card.json", composed.card)
        replace_private(folder / "delivery.signed", composed.envelope)
    except OSError as error:
        raise RunError(
            f"{folder}: the finished model could not be kept: {error.strerror}: make room and "
            "resume this run"
        ) from None


def kept_delivery(folder: Path) -> Content:
    """Return a run's delivery, as it is sent.

    Raises:
        RunError: a file is missing.
    """
    try:
        return {
            "delivery": (folder / "delivery.signed").read_bytes(),
            "model": (folder / "model.safetensors").read_bytes(),
            "card": (folder / "card.json").read_bytes(),
        }
    except OSError as error:
        raise RunError(f"{folder}: expected a finished model, found: {error.strerror}") from None
