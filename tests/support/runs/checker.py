"""A second reader of transcripts, written from docs/transcript.md and docs/protocol.md alone.

It shares no code with Fieldfare, so that a mistake in the one telling of a run does not agree with
itself. It is no audit: it says yes or no, takes the plan's terms as given (they stand in each test
vector), and does not work out thresholds, knots, how far squared norms reach, or the drawn ends of
a rate's interval. A stranger may begin from it.
"""

import base64
import hashlib
import json
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from operator import mul
from typing import Any, Final

import numpy as np
import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

Fields = dict[str, Any]
SENT: Final = {
    "roster": "fieldfare.roster-offer.v2",
    "study": "fieldfare.study-offer.v1",
    "approval": "fieldfare.approval.v2",
    "hello": "fieldfare.run-answer.v1",
    "opening": "fieldfare.run-opening.v2",
    "offer": "fieldfare.key-offer.v2",
    "request": "fieldfare.request.v2",
    "commitment": "fieldfare.commitment.v1",
    "reply": "fieldfare.reply.v3",
}
FOLLOWS: Final = {
    "rehearsal": "",
    "moments": "moments",
    "training": "parameters",
    "guard": "guard",
    "evaluation": "metrics",
    "fairness": "fairness",
    "query": "answers",
}


class Refused(Exception):  # noqa: N818 -- an answer, not a fault
    """The transcript is not that of an honest run."""


def check(claim: object, what: str) -> None:
    """Refuse where a claim does not hold."""
    if not claim:
        raise Refused(what)


def sha(content: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(content).hexdigest()


def typed(name: str, body: Fields) -> bytes:
    """What is hashed and signed: the type string, a zero byte, the canonical bytes."""
    return name.encode() + b"\0" + rfc8785.dumps(body)


def root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(hashes[:half]) + root(hashes[half:])).digest()


@dataclass
class Checker:
    """Reads one file, forward."""

    roster_key: str
    plan: Fields
    coordinator: str = ""  # the online key, from the roster
    keys: dict[str, str] = field(default_factory=dict)
    study: Fields = field(default_factory=dict)
    run: str = ""
    approvals: dict[str, str] = field(default_factory=dict)  # hash by institution
    participants: dict[str, str] = field(default_factory=dict)  # answer to hello by institution
    opening: str = ""  # hash of the newest
    openings: int = 0
    epochs: dict[str, int] = field(default_factory=dict)
    ledgers: dict[str, Fields] = field(default_factory=dict)
    answered: dict[tuple[str, str], bytes] = field(default_factory=dict)
    promised: dict[tuple[str, str], bytes] = field(default_factory=dict)
    vectors: dict[str, bytes] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    sides: dict[str, dict[str, int]] = field(default_factory=dict)
    parameters: np.ndarray | None = None  # None: not known here
    tail: list[np.ndarray] = field(default_factory=list)
    start: np.ndarray | None = None  # as the guard's request bound it
    chosen: np.ndarray | None = None  # the guard's, as it is evaluated
    moments: tuple[Any, Any, float, float] = (0.0, 0.0, 1.0, 1.0)
    steps: int = 0
    model: str = ""
    turned: "Turned | None" = None  # the coordinates of training

    def read(self, lines: Sequence[str]) -> None:
        """Check a whole file."""
        objects = [json.loads(line) for line in lines]
        for line, one in zip(lines, objects, strict=True):
            check(rfc8785.dumps(one) == line.encode(), "every line is the only spelling of itself")
        head = next(i for i, one in enumerate(objects) if "kind" not in one and i)
        self.run, leaves = objects[0]["run"], objects[1:head]
        rest = objects[head:]
        for one in rest:
            if "blob" in one:
                vector = base64.b64decode(one["blob"])
                self.vectors[sha(vector)] = vector
        contents = [(one["kind"], base64.b64decode(one["content"])) for one in leaves]
        self._roster(*contents[0])
        self._head(objects[0], lines[1:head], rest)
        self._leaves(contents)

    def _head(self, header: Fields, lines: Sequence[str], rest: Sequence[Fields]) -> None:
        hashes = [hashlib.sha256(b"\0" + line.encode()).digest() for line in lines]
        (signed,) = (one["head"] for one in rest if "head" in one)
        body = self._signed(base64.b64decode(signed), "fieldfare.tree-head.v1", "coordinator")
        found = (body["study"], body["run"], body["size"], body["root"])
        wanted = (header["study"], header["run"], len(hashes), root(hashes).hex())
        check(found == wanted, "the signed head covers these leaves and no others")

    def _signed(self, content: bytes, name: str, signer: str | None = None) -> Fields:
        envelope = json.loads(content)
        check(rfc8785.dumps(envelope) == content, "an envelope is canonical")
        check(envelope["type"] == name, f"a {name}")
        check(signer in {None, envelope["signer"]}, f"signed by {signer}")
        keys = self.keys | {"coordinator": self.coordinator}
        if name == SENT["roster"]:
            keys = {"coordinator-roster": self.roster_key}
        key = keys.get(envelope["signer"])
        check(key, "a signer on the roster")
        signature = base64.b64decode(envelope["signature"])
        try:
            public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(str(key)))
            public.verify(signature, typed(name, envelope["body"]))
        except InvalidSignature:
            raise Refused("a signature that verifies") from None
        body: Fields = envelope["body"]
        owner = body.get("institution", "coordinator")
        check(envelope["signer"] in {owner, "coordinator-roster"}, "signed by whom it speaks for")
        return body

    # -- in the file's order ------------------------------------------------------------

    def _leaves(self, leaves: Sequence[tuple[str, bytes]]) -> None:
        kinds = " ".join(kind for kind, _ in leaves if kind != "end")
        opened = "(hello )+opening (offer )*"
        once = rf"(({opened})*request (commitment )*(reply )*)+sum "
        asked = f"{once}answers "
        trained = f"({once}(moments |parameters |guard |metrics |fairness |answers ))*model "
        order = rf"roster study (approval )+({opened})+{once}({trained}|(questions )?{asked})"
        again = rf"(questions {asked})*"
        check(re.fullmatch(order + again, kinds + " "), "leaves in the order of a run")
        check(leaves[-1][0] == "end", "an end")
        ended = [leaf for leaf in leaves if leaf[0] != "end"]
        begins = next(i for i, leaf in enumerate(ended) if leaf[0] == "hello")
        for kind, content in ended[:begins]:
            self._terms(kind, content)
        self._releases(ended[self._openings(ended, begins) :])
        last = json.loads(leaves[-1][1])
        check(last["state"] == "finished", "a finished run")

    def _roster(self, kind: str, content: bytes) -> None:
        check(kind == "roster", "a roster at first")
        body = self._signed(content, SENT[kind], "coordinator-roster")
        self.roster = json.loads(body["roster"])
        self.keys = {one["id"]: one["key"] for one in self.roster["members"]}
        self.coordinator = self.roster["coordinator"]
        check(self.roster["roster_key"] == self.roster_key, "the trusted key's roster")
        self.roster_hash = sha(b"fieldfare.roster.v1\0" + body["roster"].encode())

    def _terms(self, kind: str, content: bytes) -> None:
        if kind == "roster":
            return  # it was read at first: it names who signed everything else
        body = self._signed(content, SENT[kind], None if kind == "approval" else "coordinator")
        if kind == "study":
            self.study = json.loads(body["study"])
            self.study_hash = sha(b"fieldfare.study.v1\0" + body["study"].encode())
        else:
            self.approvals[body["institution"]] = sha(typed(SENT[kind], body))
            self.epochs[body["institution"]] = body["epoch"]
            self._of_this_run(body)

    def _openings(self, leaves: Sequence[tuple[str, bytes]], at: int) -> int:
        """RunOpenings from here on; the last of them has an offer of everybody."""
        while leaves[at][0] == "hello":
            at = self._opened(leaves, at)
        return at

    def _opened(self, leaves: Sequence[tuple[str, bytes]], at: int) -> int:
        answers: dict[str, str] = {}
        while leaves[at][0] == "hello":
            body = self._signed(leaves[at][1], SENT["hello"])
            name = body["institution"]
            check(name > max(answers, default=""), "answers in order")
            check(body["approval"] == self.approvals.get(name), "an answer under the approval")
            self._of_this_run(body)
            answers[name], at = sha(typed(SENT["hello"], body)), at + 1
        opening = self._signed(leaves[at][1], SENT["opening"], "coordinator")
        self._of_this_run(opening)
        named = {one["institution"]: one["answer"] for one in opening["participants"]}
        check(named == answers and list(named) == sorted(named), "who answered takes part")
        least = self.study["aggregation"]["minimum_institutions"]
        check(len(named) >= least, "enough participants")
        check(opening["number"] == self.openings, "openings without a gap")
        check(set(named) <= set(self.participants or named), "nobody joins a run that was opened")
        hashed, offers, at = sha(typed(SENT["opening"], opening)), 0, at + 1
        while leaves[at][0] == "offer":
            body = self._signed(leaves[at][1], SENT["offer"])
            check(body["opening"] == hashed, "an offer for this opening")
            check(body["institution"] == sorted(named)[offers], "offers in order")
            self._remembers(body.get("remembered", ""))
            offers, at = offers + 1, at + 1
        check(offers == len(named) or leaves[at][0] == "hello", "an offer of every participant")
        self.participants, self.opening, self.openings = named, hashed, self.openings + 1
        return at

    def _remembers(self, text: str) -> None:
        """What a participant remembers of the study: requests by the coordinator, and replies."""
        if not text:
            return
        found = json.loads(zlib.decompress(base64.b64decode(text)))
        check(sorted(found) == ["replies", "requests"], "two lists")
        for content in found["requests"]:
            body = self._signed(content.encode(), SENT["request"], "coordinator")
            check(body["study"] == self.study_hash, "requests of this study")
        for content in found["replies"]:
            self._signed(content.encode(), SENT["reply"])

    def _of_this_run(self, body: Fields) -> None:
        found = (body["study"], body["roster"], body.get("run", self.run))
        check(found == (self.study_hash, self.roster_hash, self.run), "this study, roster and run")

    def _releases(self, leaves: Sequence[tuple[str, bytes]]) -> None:
        """Every release: its attempts, its sum, and what follows from that."""
        due, at = list(self._due(leaves)), 0
        for place, (kind, step, terms) in enumerate(due):
            if leaves[at][0] == "questions":
                at += 1
            request, replies, at = self._attempts(leaves, at, kind, step, terms)
            record = json.loads(leaves[at][1])
            found = (record["request"], record["participants"])
            check(found == (sha(typed(SENT["request"], request)), list(replies)), "this sum")
            values = self._sum(replies, record, terms, kind)
            at += 1
            self._bound(request, place)
            if FOLLOWS[kind]:
                check(leaves[at][0] == FOLLOWS[kind], f"{FOLLOWS[kind]} after the sum")
                self._follow(kind, json.loads(leaves[at][1]), record, request, values)
                at += 1
        if leaves[at:]:
            check([kind for kind, _ in leaves[at:]] == ["model"], "a model at the end")
            model = json.loads(leaves[at][1])
            check((model["model"], model["steps"]) == (self.model, self.steps), "the model")

    def _due(self, leaves: Sequence[tuple[str, bytes]]) -> Iterator[tuple[str, int, Fields]]:
        """The plan's releases in the order of their positions; later questions in their place."""
        later = [json.loads(content) for kind, content in leaves if kind == "questions"]
        releases = self.plan["releases"]
        yield "rehearsal", 0, releases["rehearsal"]
        if later:
            terms = releases["later"]
            check(len(later) <= terms["steps"], "as many groups as the allowance has")
            for index in range(len(later)):
                yield "query", terms["first_step"] + index, terms
            return
        planned = [one for one in releases if one not in {"rehearsal", "later"}]
        for kind in sorted(planned, key=lambda one: int(releases[one]["first_step"])):
            for index in range(releases[kind]["steps"]):
                yield kind, releases[kind]["first_step"] + index, releases[kind]

    def _attempts(
        self, leaves: Sequence[tuple[str, bytes]], at: int, kind: str, step: int, terms: Fields
    ) -> tuple[Fields, dict[str, Fields], int]:
        attempts: list[str] = []
        before, replies = set(self.participants), dict[str, Fields]()
        request: Fields = {}
        aggregation, paid = self.study["aggregation"], set[str]()
        while leaves[at][0] != "sum":
            at = self._openings(leaves, at)
            check(leaves[at][0] == "request", "a request")
            request = self._signed(leaves[at][1], SENT["request"], "coordinator")
            hashed = sha(typed(SENT["request"], request))
            if not attempts or attempts[-1] != hashed:
                check(len(replies) < len(before) or not attempts, "no sum is thrown away")
                check(request["attempt"] == len(attempts), "attempts without a gap")
                check(len(attempts) < max(64, aggregation["attempts"]), "attempts to spare")
                check(len(paid) < aggregation["attempts"], "attempts to pay for")
                attempts.append(hashed)
            named = {one["institution"]: one["answer"] for one in request["participants"]}
            self._request(request, named, kind, step, terms)
            check(set(named) <= before, "nobody joins for another attempt")
            if aggregation["participants"] == "fixed":
                check(set(named) == set(self.participants), "the same institutions in every sum")
            before, replies, at = set(named), {}, at + 1
            at, promised, listed = self._commitments(leaves, at, hashed, named)
            if len(promised) == len(named):
                paid.add(hashed)
            while leaves[at][0] == "reply":
                reply = self._signed(leaves[at][1], SENT["reply"])
                name = reply["institution"]
                check(name in named and name > max(replies, default=""), "replies in order")
                found = (reply["request"], reply["answer"], reply["epoch"])
                check(found == (hashed, named[name], self.epochs[name]), "a reply to this request")
                self._opens(reply, promised, listed, len(named))
                self._ledger(reply, leaves[at][1], terms["side"], terms["cost"])
                replies[name], at = reply, at + 1
        check(sorted(replies) == sorted(before), "everybody answered before the sum")
        return request, replies, at

    def _commitments(
        self, leaves: Sequence[tuple[str, bytes]], at: int, hashed: str, named: Mapping[str, str]
    ) -> tuple[int, dict[str, Fields], str]:
        """Who committed to what, and the hash of the list of it all."""
        promised, sent = dict[str, Fields](), list[bytes]()
        while leaves[at][0] == "commitment":
            body = self._signed(leaves[at][1], SENT["commitment"])
            name = body["institution"]
            check(name in named and name > max(promised, default=""), "commitments in order")
            found = (body["request"], body["answer"])
            check(found == (hashed, named[name]), "a commitment to this request")
            known = self.promised.setdefault((name, hashed), leaves[at][1])
            check(known == leaves[at][1], "the same commitment to the same request")
            promised[name], at = body, at + 1
            sent.append(leaves[at - 1][1])
        listed = b"fieldfare.statements.v1\0[" + b",".join(sent) + b"]"
        return at, promised, sha(listed)

    def _opens(
        self, reply: Fields, promised: Mapping[str, Fields], listed: str, count: int
    ) -> None:
        """A reply opens what was committed to, once everybody's commitment is there."""
        check(len(promised) == count, "a commitment of everybody before a reply")
        check(reply["statements"] == listed, "a reply that names these commitments")
        own = promised[reply["institution"]]
        found = (reply["vector"], sha(bytes.fromhex(reply["seed"])))
        check(found == (own["vector"], own["seed"]), "what was committed to")

    def _request(
        self, request: Fields, named: Mapping[str, str], kind: str, step: int, terms: Fields
    ) -> None:
        self._of_this_run(request)
        known = all(self.participants.get(name) == answer for name, answer in named.items())
        check(request["opening"] == self.opening, "a request under the newest opening")
        check(known, "participants of the opening")
        check(list(named) == sorted(named) and request["n"] == len(named), "sorted participants")
        check(len(named) >= self.plan["least"], "enough participants")
        privacy = self.study["privacy"]
        wanted = {
            "protocol": 2,
            "kind": kind,
            "step": step,
            "t": privacy["collusion_tolerance"],
            "multiplicity": privacy["multiplicity"],
            "dtype": "<u4" if terms["word_bits"] == 32 else "<u8",
            **{n: terms[n] for n in ("clipping_norm", "sigma", "gamma_bits", "word_bits")},
        }
        check(wanted == {name: request[name] for name in wanted}, "the plan's terms")
        check(request["entries"] == terms["entries"] or kind == "query", "the plan's entries")

    def _ledger(self, reply: Fields, content: bytes, side: str, cost: int) -> None:
        """A ledger only goes forward; the same bytes again are free."""
        name = reply["institution"]
        known = self.answered.get((name, reply["request"]))
        if known is not None and cost:
            check(known == content, "the same answer to the same request")
            return
        self.answered[name, reply["request"]] = content
        check(reply["debit"] == cost, "the plan's debit")
        last, paid = self.ledgers.get(name), int(cost > 0)
        before = last or {"debited": 0, "cumulative": 0}
        debited = reply["debited"] - before["debited"]
        risen = reply["cumulative"] - before["cumulative"]
        check(0 <= risen <= debited, "a total that grows by no more than what was debited")
        if last is not None:
            entries = reply["ledger_sequence"] - last["ledger_sequence"]
            check(entries >= paid and debited >= cost, "a ledger that goes forward")
            check(debited == cost or entries > paid, "debits that grow by what was debited")
            moved = reply["ledger_head"] != last["ledger_head"]
            check(moved == bool(entries), "a head that moves with the ledger")
        self.ledgers[name] = reply
        # No unit is in training and in the hold-out: the study costs the larger of the two.
        sides = self.sides.setdefault(name, {"all": 0, "training": 0, "holdout": 0})
        sides[side] += cost
        self.spent[name] = sides["all"] + max(sides["training"], sides["holdout"])
        check(self.spent[name] <= reply["cumulative"], "a total that holds what the study spent")
        check(self.spent[name] <= self.plan["limit"], "no more than the study allows")

    # -- sums ---------------------------------------------------------------------------

    def _sum(
        self, replies: Mapping[str, Fields], record: Fields, terms: Fields, kind: str
    ) -> np.ndarray | None:
        if not self.vectors:
            return None
        bits = terms["word_bits"]
        size, code = bits // 8, "I" if bits == 32 else "Q"
        total: list[int] = []
        for reply in replies.values():
            check(reply["vector"] in self.vectors, "the vector that a reply signs")
            vector = self.vectors[reply["vector"]]
            sent = struct.unpack(f"<{len(vector) // size}{code}", vector)
            total = [a + b for a, b in zip(total or [0] * len(sent), sent, strict=True)]
            if reply["seed"]:
                stream = Cipher(ChaCha20(bytes.fromhex(reply["seed"]), bytes(16)), mode=None)
                hidden = stream.encryptor().update(bytes(len(vector)))
                over = struct.unpack(f"<{len(vector) // size}{code}", hidden)
                total = [a - b for a, b in zip(total, over, strict=True)]
        words = [word % 2**bits for word in total]
        packed = struct.pack(f"<{len(words)}{code}", *words)
        check(sha(packed) == record["words"], "the vectors' sum")
        centred = [word - 2**bits if word >= 2 ** (bits - 1) else word for word in words]
        values = np.array([math.ldexp(word, -terms["gamma_bits"]) for word in centred])
        if kind == "rehearsal":
            check(not values.any(), "masks that cancel")
        elif self.study["training"].get("mode") == "local" and kind == "training":
            check(np.abs(values).max() <= 16 * len(replies), "changes within 16")
        else:
            check(np.abs(values).max() <= terms["largest"], "a sum within range")
        return values

    def _bound(self, request: Fields, place: int) -> None:
        """The parameters of a request are those that follow."""
        kind = request["kind"]
        turned = self.turned.hash if self.turned and kind == "training" else None
        check(request.get("geometry") == turned, "the coordinates that follow")
        if place == 0:
            self._start(request["parameters"])
        elif kind == "training" and self.parameters is not None:
            wanted = sha(self.parameters.astype("<f8").tobytes())
            check(request["parameters"] == wanted, "the parameters that follow")
        elif kind == "guard" and self.parameters is not None:
            both = [np.concatenate([self._average(), one]) for one in self._starts()]
            bound = [sha(one.astype("<f8").tobytes()) for one in both]
            check(request["parameters"] in bound, "what was trained, and the start after it")
            self.start = self._starts()[bound.index(request["parameters"])]
        elif kind == "evaluation":
            self.model = request["parameters"]
            if self.parameters is not None:
                check(sha(self._averaged().astype("<f8").tobytes()) == self.model, "the model")

    def _averaged(self) -> np.ndarray:
        """What a guard took, or the average of the last iterates: as weights of the features."""
        if self.chosen is not None:
            return self.chosen
        average = self._average()
        return average if self.turned is None else self.turned.plain(average)

    def _average(self) -> np.ndarray:
        """The averaged iterates: what was trained."""
        found: np.ndarray = sum(self.tail[1:], self.tail[0]) / len(self.tail)
        return found

    def _start(self, bound: str) -> None:
        """Where training starts: one of a few, as machines may round a logarithm apart."""
        if self.plan["asks_for_knots"]:  # they are in the parameters, and not worked out here
            return
        for start in self._starts():
            if sha(start.astype("<f8").tobytes()) == bound:
                self.parameters = start
                return
        raise Refused("parameters that start at the prevalence")

    def _starts(self) -> list[np.ndarray]:
        """Zeros, or the public start; the prevalence's log-odds, two last bits either way."""
        prevalence = self.study["records"]["prevalence"]
        entries = self.plan["releases"]["rehearsal"]["parameters"]
        middle = math.log(prevalence / (1 - prevalence))
        near = [middle]
        for direction in (math.inf, -math.inf):
            one = math.nextafter(middle, direction)
            near += [one, math.nextafter(one, direction)]
        offset, curves = public_start(self.study)
        start = np.ones(entries) if curves else np.zeros(entries)
        return [np.concatenate([[bias + offset], start[1:]]) for bias in near]

    def _follow(
        self, kind: str, told: Fields, record: Fields, request: Fields, values: np.ndarray | None
    ) -> None:
        if kind == "training":
            self._step(values, request)
            check(told["step"] == self.steps, "the step that was taken")
            if self.parameters is not None:
                hashed = sha(self.parameters.astype("<f8").tobytes())
                check(told["parameters"] == hashed, "the parameters after the step")
        elif kind == "evaluation" and values is not None:
            self._metrics(told["metrics"], values, request)
        elif kind == "guard":
            self._choose(told, record, request)
        elif kind in {"fairness", "query", "moments"}:
            check(sha(base64.b64decode(told["words"])) == record["words"], "the words of the sum")
        if kind == "moments":
            self._moments(base64.b64decode(told["words"]), request)
        if kind == "query":
            check(sha(told["questions"].encode()) == request["parameters"], "what was asked")
        if kind == "fairness" and self.parameters is not None:
            bound = np.append(self._averaged(), told["threshold"]).astype("<f8").tobytes()
            check(sha(bound) == request["parameters"], "the model and the threshold")

    def _moments(self, words: bytes, request: Fields) -> None:
        """Coordinates follow from the words, which stay when vectors are deleted."""
        size = request["word_bits"] // 8
        sent = struct.unpack(f"<{len(words) // size}{'i' if size == 4 else 'q'}", words)
        values = np.array([math.ldexp(word, -request["gamma_bits"]) for word in sent])
        sigma = request["sigma"] * math.sqrt(request["n"] / (request["n"] - request["t"]))
        fine = self.plan["releases"]["training"]["gamma_bits"] - 20
        self.turned = Turned.of(self.study, values, sigma, fine)

    def _choose(self, told: Fields, record: Fields, request: Fields) -> None:
        """What was trained goes on where the sum is beyond two sigma, the start anywhere else."""
        words = base64.b64decode(told["words"])
        check(sha(words) == record["words"], "the words of the sum")
        word = int.from_bytes(words, "little", signed=True)
        sigma = request["sigma"] * math.sqrt(request["n"] / (request["n"] - request["t"]))
        better = math.ldexp(word, -request["gamma_bits"]) > 2 * sigma
        check(told["taken"] == ("trained" if better else "start"), "the choice that follows")
        if self.parameters is not None and self.start is not None:
            _, curves = public_start(self.study)
            taken = self._average() if better else self.start
            scaled = [
                np.array(curve) * multiplier / 256
                for curve, multiplier in zip(curves, taken[1:].tolist(), strict=True)
            ]
            self.chosen = np.clip(np.concatenate([taken[:1], *scaled]), -1e4, 1e4)

    def _metrics(self, told: str, table: np.ndarray, request: Fields) -> None:
        """Every figure that follows from the evaluation's table, and the order of those drawn."""
        sigma = request["sigma"] * math.sqrt(request["n"] / (request["n"] - request["t"]))
        own = read_off(self.study, table.tolist(), sigma)
        if own is None:
            check(told == "", "no metrics where noise hides a class")
            return
        found = json.loads(told or "{}")
        check(set(found) == set(own), "the figures of an evaluation")
        for name in RATES:
            low, value, high = (found[name].pop(end) for end in ("low", "value", "high"))
            check(0 <= low <= value <= high <= 1 and not found[name], "an interval of a rate")
            found[name] = value
        check(alike(own, found), "the metrics that follow from the table")

    def _step(self, total: np.ndarray | None, request: Fields) -> None:
        """Adam (Kingma-Ba 2015, algorithm 1), in units of noise, or the plain average."""
        training = self.study["training"]
        self.steps += 1
        if total is None or self.parameters is None:
            self.parameters = None
            return
        if training.get("mode") == "local":
            moved = self.parameters + total / request["n"]
        else:
            units = self.study["records"]["units"] * (1 - self.study["evaluation"]["holdout"])
            gradient, (first, second, one, two) = total / units, self.moments
            beta1, beta2 = training["beta1"], training["beta2"]
            first = beta1 * first + (1.0 - beta1) * gradient
            second = beta2 * second + (1.0 - beta2) * (gradient * gradient)
            one, two = one * beta1, two * beta2
            self.moments = first, second, one, two
            mean = first / (1.0 - one)
            if beta2 == 1:
                spread = request["sigma"] / units
                mean = np.minimum(np.maximum(mean, -3 * spread), 3 * spread)
            else:
                spread = np.sqrt(second / (1.0 - two)) + 1e-8
            moved = self.parameters - training["learning_rate"] * mean / spread
        self._shape(moved)
        self.parameters = np.clip(moved, -1e4, 1e4)
        averaged = max(1, int(training["steps"] * training["average_last"]))
        if self.steps > training["steps"] - averaged:
            self.tail.append(self.parameters)

    def _shape(self, moved: np.ndarray) -> None:
        """Pool neighbours of each curve that are not in its direction."""
        at, means = 1, None if self.turned is None else self.turned.mean
        for feature in self.study["features"]:
            curves = len(feature["levels"]) + 2 if "by" in feature else 1
            for _ in range(curves):
                knots = feature.get("knots", ())
                if "direction" in feature:
                    sign = 1 if feature["direction"] == "rising" else -1
                    here = slice(at - 1, at - 1 + len(knots))  # the bias has no mean
                    heavy = [1] * len(knots) if means is None else [max(1, m) for m in means[here]]
                    own = [sign * one for one in moved[at : at + len(knots)].tolist()]
                    moved[at : at + len(knots)] = [sign * one for one in pooled(own, heavy)]
                at += len(slots(feature))


def pooled(values: Sequence[float], weights: Sequence[int]) -> list[float]:
    """Pool adjacent violators: the last two blocks while the second is below the first."""
    blocks = list[list[Any]]()  # mean, weight, length
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, v, m), (b, w, n) = blocks[-2:]
            blocks[-2:] = [[(a * v + b * w) / (v + w), v + w, m + n]]
    return [mean for mean, _, length in blocks for _ in range(length)]


# -- coordinates ----------------------------------------------------------------------------------


@dataclass
class Turned:
    """A centre in units of 2^-8, and a lower triangular matrix in units of 2^-f, or none."""

    mean: list[int]
    fine: int
    matrix: list[list[int]] | None = None

    @classmethod
    def of(cls, study: Fields, s: np.ndarray, sigma: float, fine: int) -> "Turned":
        """What docs/transcript.md says of moments."""
        units = int(study["records"]["units"] * (1 - study["evaluation"]["holdout"]))
        count = max(1, math.floor(s[0]), units // 4)
        if study["geometry"]["kind"] == "centred":
            return cls(_on_grid([one / count * 0.8 for one in s[1:].tolist()]), 0)
        entries = (math.isqrt(8 * len(s) + 1) - 1) // 2
        mean = [one / count for one in s[1:entries].tolist()]
        rows, at = [], entries
        for row in range(1, entries):  # the upper triangle, row by row, without the bias
            rows.append(s[at : at + entries - row].tolist())
            at += entries - row
        spread = [
            [rows[j][i - j] / count - mean[i] * mean[j] for j in range(i + 1)]
            for i in range(entries - 1)
        ]
        ridge = study["geometry"]["ridge"] * (2.0 * sigma * math.sqrt(entries) / count)
        ridge = max(2.0**-20, ridge)
        while True:
            matrix = _inverse(spread, ridge, fine - 8)
            if matrix is not None:
                return cls(_on_grid(mean), fine - 8, matrix)
            ridge *= 2.0

    @property
    def hash(self) -> str:
        """SHA-256 of the bytes."""
        rows = self.matrix or []
        head = struct.pack("<BBBI", 8, self.fine, bool(rows), len(self.mean))
        packed = b"".join(struct.pack(f"<{len(row)}i", *row) for row in rows)
        mean = struct.pack(f"<{len(self.mean)}h", *self.mean)
        return sha(b"fieldfare.geometry/1\0" + head + mean + packed)

    def plain(self, parameters: np.ndarray) -> np.ndarray:
        """Weights of the features: row after row of the matrix, entry after entry of the centre."""
        count = len(self.mean) + 1
        bias, *turned = parameters[:count].tolist()
        weights = list(turned)
        if self.matrix is not None:
            weights = [0.0] * len(turned)
            for row, value in zip(self.matrix, turned, strict=True):
                for at, one in enumerate(row):
                    weights[at] += math.ldexp(one, -self.fine) * value
        for weight, middle in zip(weights, self.mean, strict=True):
            bias -= weight * math.ldexp(middle, -8)
        found = np.array([bias, *weights, *parameters[count:].tolist()])
        clipped: np.ndarray = np.clip(found, -1e4, 1e4)
        return clipped


def _on_grid(mean: Sequence[float]) -> list[int]:
    return [round(min(max(one, -1.0), 1.0) * 256) for one in mean]


def _inverse(spread: list[list[float]], ridge: float, fine: int) -> list[list[int]] | None:
    """The inverse of the Cholesky factor, on the grid; None where more of a ridge is needed."""
    factor = [list(row) for row in spread]
    for at, row in enumerate(factor):
        row[at] += ridge
    for c in range(len(factor)):
        pivot = factor[c][c]
        if not pivot >= ridge / 2:
            return None
        root = math.sqrt(pivot)
        for i in range(c, len(factor)):
            factor[i][c] /= root
        for i in range(c + 1, len(factor)):
            for j in range(c + 1, i + 1):
                factor[i][j] -= factor[i][c] * factor[j][c]
    inverse = [[float(i == j) for j in range(i + 1)] for i in range(len(factor))]
    for r, row in enumerate(inverse):
        row[:] = [one / factor[r][r] for one in row]
        for i in range(r + 1, len(factor)):
            for j in range(r + 1):
                inverse[i][j] -= factor[i][r] * row[j]
    found = [[round(math.ldexp(one, fine)) for one in row] for row in inverse]
    small = all(abs(one) < 1 << (6 + fine) for row in found for one in row)
    return found if small else None


# -- a public start -------------------------------------------------------------------------------


def public_start(study: Fields) -> tuple[float, list[list[int]]]:
    """Offset and curves of a study's start; a study may leave features and knots of it out."""
    content = base64.b64decode(study["training"].get("start_file", ""))
    if not content:
        return 0.0, []
    check(sha(content) == study["training"]["start_hash"], "the start that the study names")
    end = 8 + int.from_bytes(content[:8], "little")
    said = json.loads(json.loads(content[8:end])["__metadata__"]["start"])
    offset, *values = np.frombuffer(content[end:], "<i2").tolist()
    left = iter(values)
    known = {one["name"]: {slot: next(left) for slot in slots(one)} for one in said["features"]}
    return offset / 256, [[known[f["name"]][s] for s in slots(f)] for f in study["features"]]


def slots(feature: Fields) -> list[Any]:
    """What the slots of a feature stand for."""
    named = feature["levels"] if feature["kind"] == "categorical" else feature["knots"]
    return [*named, *(("=", one) for one in feature.get("special", ["other"])), "missing"]


# -- metrics --------------------------------------------------------------------------------------

RATES: Final = ("auroc", "average_precision", "precision", "recall")


def read_off(study: Fields, table: Sequence[float], sigma: float) -> Fields | None:
    """Metrics of one table, rates by their value alone; None where a class drowns in the noise."""
    bins, budget = len(table) // 2, study["evaluation"]["alert_budget"]
    negatives, positives = table[:bins], table[bins:]
    n, p = smoothed(negatives[::-1]), smoothed(positives[::-1])  # highest scores first
    if sum(n) <= 0 or sum(p) <= 0:
        return None
    rates = [min(max(rate, 0.0), 1.0) for rate in rates_of(n, p, budget)]
    cells = {"units": (sum(table), 2 * bins), "positives": (sum(positives), bins)}
    return {
        **dict(zip(RATES, rates, strict=True)),
        **{name: counted(*one, sigma) for name, one in cells.items()},
        "alert_budget": budget,
        "sigma": sigma,
        "calibration": calibrated(study, negatives, positives, sigma),
    }


def smoothed(row: Sequence[float]) -> list[float]:
    """Counts whose cumulative sums rise, lie between 0 and the total, and are nearest."""
    sums = list(accumulate(row))
    total = max(sums[-1], 0.0)
    blocks: list[tuple[float, int]] = []  # mean and length: pool adjacent violators
    for value in sums:
        mean, length = value, 1
        while blocks and blocks[-1][0] >= mean:
            before, more = blocks.pop()
            mean, length = (before * more + mean * length) / (more + length), more + length
        blocks.append((mean, length))
    rising = [min(max(mean, 0.0), total) for mean, length in blocks for _ in range(length)]
    rising[-1] = total
    return [after - before for before, after in zip([0.0, *rising], rising, strict=False)]


def rates_of(n: Sequence[float], p: Sequence[float], budget: float) -> tuple[float, ...]:
    """AUROC, average precision, and precision and recall of the share that is reviewed."""
    units, labelled = sum(n) + sum(p), sum(p)
    above_n, above_p, ranked, average, found = 0.0, 0.0, 0.0, 0.0, 0.0
    for one_n, one_p in zip(n, p, strict=True):
        ranked += one_p * (sum(n) - above_n - one_n / 2)
        middle_n, middle_p = above_n + one_n / 2, above_p + one_p / 2
        average += one_p * middle_p / (middle_p + middle_n) if middle_p + middle_n > 0 else 0.0
        both = one_n + one_p
        share = (budget * units - above_n - above_p) / both if both > 0 else 0.0
        found += min(max(share, 0.0), 1.0) * one_p
        above_n, above_p = above_n + one_n, above_p + one_p
    auroc = ranked / (labelled * sum(n))
    return auroc, average / labelled, found / (budget * units), found / labelled


def counted(value: float, cells: int, sigma: float) -> Fields:
    """A count of so many cells, with the noise of them all."""
    half = 1.96 * sigma * math.sqrt(cells)
    return {"value": max(0.0, value), "low": max(0.0, value - half), "high": value + half}


def calibrated(
    study: Fields, negatives: Sequence[float], positives: Sequence[float], sigma: float
) -> list[Fields]:
    """Runs of bins from the highest down, each as short as noise lets one see; lowest first."""
    prevalence, bins = study["records"]["prevalence"], len(negatives)
    centre = math.log(prevalence / (1 - prevalence))
    edges = [centre - 5.5 + 10.5 * index / (bins - 2) for index in range(bins - 1)]
    inner = [(low + high) / 2 for low, high in pairwise(edges)]
    chances = [1 / (1 + math.exp(-middle)) for middle in [edges[0], *inner, edges[-1]]]
    rows: list[Fields] = []
    start = bins
    for stop in reversed(range(bins)):
        units, cells = sum(negatives[stop:start]) + sum(positives[stop:start]), start - stop
        if units < max(10, 3 * sigma * math.sqrt(2 * cells)):
            continue
        weights = [max(negatives[at] + positives[at], 0.0) for at in range(stop, start)]
        predicted = sum(map(mul, weights, chances[stop:start])) / sum(weights)
        observed = min(max(sum(positives[stop:start]) / units, 0.0), 1.0)
        chance = math.sqrt(max(observed * (1 - observed), 1 / units) / units)
        half = 1.96 * math.hypot(sigma * math.sqrt(cells) / units, chance)
        low, high = max(0.0, observed - half), min(1.0, observed + half)
        told = {"predicted": predicted, "observed": observed, "low": low, "high": high}
        rows.insert(0, told | {"units": units})
        start = stop
    return rows


def alike(own: Any, found: Any) -> bool:
    """The same figures, to a millionth."""
    if isinstance(own, dict):
        same = isinstance(found, dict) and set(own) == set(found)
        return same and all(alike(value, found[name]) for name, value in own.items())
    if isinstance(own, list):
        same = isinstance(found, list) and len(own) == len(found)
        return same and all(map(alike, own, found))
    return isinstance(found, int | float) and abs(own - found) <= 1e-6 * max(1.0, abs(own))


def accepts(lines: Sequence[str], roster_key: str, plan: Fields) -> str:
    """Return nothing where a transcript is accepted, or the rule that it breaks."""
    checker = Checker(roster_key, plan)
    try:
        checker.read(lines)
    except Refused as refused:
        return str(refused)
    except (KeyError, ValueError, TypeError, IndexError, StopIteration, struct.error) as error:
        return f"well-formed leaves: {type(error).__name__}"
    return ""
