"""Verify a published run: `python verify.py DIR ROSTER_KEY [WITNESS_KEY ...]`; see README.md."""

import base64
import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

OURS = "study-offer.v1 run-opening.v2 request.v2 roster-offer.v2".split()  # the coordinator's
TYPES = "approval.v2 run-answer.v1 key-offer.v2 commitment.v1 reply.v3 rehearsal-keys.v1".split()
KINDS = "study opening request roster approval hello offer commitment reply keys".split()
SENT = dict(zip(KINDS, OURS + TYPES, strict=True))
OWED = {"training": "parameters", "evaluation": "metrics", "query": "answers", "rehearsal": ""}
SECTIONS = "content blob hashes head cosignature".split()
Told = dict[Any, Any]


class Refused(Exception): ...


def need(fits: object, what: str) -> None:
    if not fits:
        raise Refused(what)


def sha(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unbase(text: str) -> bytes:
    content = base64.b64decode(text, validate=True)
    need(base64.b64encode(content).decode() == text, "base64 in its one spelling")
    return content


def root(hashes: list[bytes]) -> bytes:
    if len(hashes) < 2:
        return hashes[0] if hashes else hashlib.sha256().digest()
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + root(hashes[:half]) + root(hashes[half:])).digest()


def opened(content: bytes, kind: str, signer: str, key: str) -> tuple[Any, str]:
    found = json.loads(content)
    tail = b"," + canonical({name: found[name] for name in ("signature", "signer", "type")})[1:]
    kind = f"fieldfare.{kind}"
    need(content.startswith(b'{"body":') and content.endswith(tail), "an envelope")
    need((found["type"], found["signer"]) == (kind, signer), f"{kind} of {signer}")
    said = kind.encode() + b"\0" + content[len(b'{"body":') : -len(tail)]
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(unbase(found["signature"]), said)
    return found["body"], sha(said)


class Run:
    model = now = asks = asked = owed = words = left = online = ""
    openings, steps, sums, average, r = 0, 0, 0, b"", Told()

    def __init__(self, header: Any, roster_key: str, blobs: dict[str, bytes]) -> None:
        self.its, self.roster_key = {"study": header["study"], "run": header["run"]}, roster_key
        self.blobs, self.used, self.tail, self.said = blobs, set[str](), list[Any](), list[bytes]()
        self.members, self.answers, self.attempts, self.first = Told(), Told(), Told(), Told()
        self.spent, self.replies, self.commitments = Told(), Told(), Told()

    def take(self, kind: str, content: bytes) -> None:
        need(kind == (self.owed or kind), f"the {self.owed} of the last sum")
        self.owed, body = "", json.loads(content)
        if kind == "sum":
            self.sum(body)
        elif kind not in SENT:
            self.record(kind, body, self.r)
        elif kind == "roster":
            body, _ = opened(content, SENT[kind], "coordinator-roster", self.roster_key)
            self.its["roster"] = sha(b"fieldfare.roster.v1", body["roster"].encode())
            self.online = json.loads(body["roster"])["coordinator"]
            found = json.loads(body["roster"])["members"]
            self.members = {one["id"]: one["key"] for one in found}
        else:
            who = body["signer"] if SENT[kind] in TYPES else "coordinator"
            key = self.members.get(who, "") if SENT[kind] in TYPES else self.online
            body, name = opened(content, SENT[kind], who, key)
            need(body.get("institution", who) == who, f"{kind} by whom it is of")
            own = {} if kind == "study" else self.its
            need({**own, **body}.items() >= own.items(), f"the study, run and roster of {kind}")
            self.answers |= {who: name} if kind == "hello" else {}
            if kind == "commitment":
                need(body["request"] == self.asked, "a commitment to this request")
                self.said, self.commitments = [*self.said, content], {**self.commitments, who: body}
            elif kind in ("study", "opening", "request", "reply"):
                getattr(self, kind)(body, name)

    def record(self, kind: str, body: Any, r: Any) -> None:
        self.asks = body[kind] if kind == "questions" else self.asks
        follows = {"parameters": self.now, "model": self.model, "words": self.words}
        told = {"words": sha(unbase(body["words"]))} if "words" in body else {}
        exact = kind == "model" or (kind == "parameters" and not self.left)
        told |= {kind: body[kind]} if exact else {}
        need(told.items() <= follows.items(), f"the {kind} that follow from the sums")
        need(body.get("questions", self.asks) == self.asks, "answers to what was asked")
        if kind == "fairness" and not self.left:
            bound = self.average + np.array([body["threshold"]], "<f8").tobytes()
            need(sha(bound) == r["parameters"], "the model and the threshold that were asked")

    def study(self, body: Any, _: str) -> None:
        need(sha(b"fieldfare.study.v1", body["study"].encode()) == self.its["study"], "the study")
        self.plan = plan = json.loads(body["study"])
        self.training, self.t = plan["training"], plan["privacy"]["collusion_tolerance"]
        self.least = max(plan["aggregation"]["minimum_institutions"], self.t + 2)
        self.asks = canonical({"format": 1, "questions": plan.get("queries")}).decode()
        more = plan.get("geometry") or {"start", "local_steps"} & {*self.training}
        more = more or plan["model"]["kind"] != "additive"
        if more or any({"knots_from", "direction"} & {*one} for one in plan["features"]):
            self.left = "that parameters and model follow from sums, that debits are the price, "

    def opening(self, body: Any, name: str) -> None:
        need(body["number"] == self.openings, "openings counted without a gap")
        self.present = {one["institution"]: one["answer"] for one in body["participants"]}
        need(self.present.items() <= self.answers.items(), "answers of all participants")
        self.openings, self.opened, self.answers = self.openings + 1, name, {}
        self.first = self.first or self.present

    def request(self, r: Any, name: str) -> None:
        self.r, self.asked, self.said, self.commitments, self.replies = r, name, [], {}, {}
        asked = {one["institution"]: one["answer"] for one in r["participants"]}
        self.names, place = sorted(asked), (r["kind"], r["step"])
        fits = [*asked] == self.names and len(asked) == len(r["participants"])
        need(fits, "participants sorted, each once")
        need(self.least <= r["n"] == len(asked), "as many participants as the study asks for")
        need(asked.items() <= self.present.items(), "participants of the opening")
        need(r["opening"] == self.opened, "a request under the newest opening")
        need(r["attempt"] == self.attempts.get(place, 0), "attempts without a gap")
        self.attempts[place] = r["attempt"] + 1
        if not self.now:
            self.p, self.b1, self.b2 = np.zeros(r["entries"]), 1.0, 1.0
            self.m, self.v, share = 0 * self.p, 0 * self.p, self.plan["records"]["prevalence"]
            first = math.log(share / (1 - share))
            for units in (2, -2, 1, -1, 0):
                if self.now != r["parameters"]:
                    self.p[0] = first + units * math.ulp(first)
                    self.now = sha(self.p.tobytes())
        self.model = r["parameters"] if self.left and r["kind"] == "evaluation" else self.model
        own = {"rehearsal": self.now, "training": self.now, "evaluation": self.model}
        own = {"query": sha(self.asks.encode())} | ({} if self.left else own)
        need(r["parameters"] == own.get(r["kind"], r["parameters"]), f"the parameters of {place}")

    def reply(self, body: Any, _: str) -> None:
        r, who = self.r, body["institution"]
        need(who in self.names and who > max(self.replies, default=""), "replies in order")
        need((body["request"], body["answer"]) == (self.asked, self.present[who]), "a reply to it")
        if self.plan["aggregation"]["opening"] == "on":
            held = self.commitments[who]
            everybody = sha(b"fieldfare.statements.v1", b"[" + b",".join(self.said) + b"]")
            given = (sorted(self.commitments), body["vector"], sha(bytes.fromhex(body["seed"])))
            need(given == (self.names, held["vector"], held["seed"]), "what everybody committed to")
            need(body["statements"] == everybody, "the list of all commitments")
        noise, reach = r["sigma"] ** 2 - 4 * 4.0 ** -r["gamma_bits"], r["clipping_norm"]
        paying = r["kind"] != "rehearsal"
        price = (r["multiplicity"] * reach) ** 2 / noise * 1e12 if paying else 0
        fits = price - paying <= body["debit"] <= price + paying
        need(self.left or fits, "the price as its debit")
        paid, *before = self.spent.get(who, (0, 0, 0, 0))
        now = [body["ledger_sequence"], body["debited"], body["cumulative"]]
        rose = [after - last for after, last in zip(now, before, strict=True)]
        need(min(rose) >= 0 and rose[1] >= max(body["debit"], rose[2]), f"{who}'s ledger onward")
        self.spent[who], self.replies[who] = (paid + body["debit"], *now), body

    def sum(self, body: Any) -> None:
        r, kind, size = self.r, str(self.r["kind"]), self.r["word_bits"] // 8
        need(body["request"] == self.asked, "a sum of this request")
        need(body["participants"] == self.names == [*self.replies], "a sum of all replies")
        total = np.zeros(r["entries"], f"<u{size}")  # unsigned words add up modulo 2^k
        for reply in self.replies.values():
            self.used.add(reply["vector"])
            total = total + np.frombuffer(self.blobs[reply["vector"]], total.dtype)
            if reply["seed"]:
                key = algorithms.ChaCha20(bytes.fromhex(reply["seed"]), bytes(16))
                stream = Cipher(key, None).encryptor().update(bytes(r["entries"] * size))
                total = total - np.frombuffer(stream, total.dtype)
        self.words, self.owed = body["words"], OWED.get(kind, kind)  # the next leaf
        need(sha(total.tobytes()) == self.words, f"the sum of {kind} {r['step']}")
        need(kind != "rehearsal" or not total.any(), "a rehearsal that comes to zero")
        self.sums, self.asked, self.steps = self.sums + 1, "", self.steps + (kind == "training")
        if kind == "training" and not self.left:
            self.step(self.training, total.view(f"<i{size}") * 2.0 ** -r["gamma_bits"])

    def step(self, t: Any, total: Any) -> None:
        units = self.plan["records"]["units"] * (1 - self.plan["evaluation"]["holdout"])
        g, adam = total / units, t["beta2"] < 1
        self.m = t["beta1"] * self.m + (1 - t["beta1"]) * g
        self.v = t["beta2"] * self.v + (1 - t["beta2"]) * (g * g)
        self.b1, self.b2 = self.b1 * t["beta1"], self.b2 * t["beta2"]
        spread = np.sqrt(self.v / (1 - self.b2)) + 1e-8 if adam else self.r["sigma"] / units
        m, most = self.m / (1 - self.b1), (np.inf if adam else 3) * spread
        self.p = np.clip(self.p - t["learning_rate"] * np.clip(m, -most, most) / spread, -1e4, 1e4)
        self.tail, self.now = [*self.tail, self.p], sha(self.p.tobytes())
        if self.steps == t["steps"]:
            last = self.tail[-max(1, math.floor(t["steps"] * t["average_last"])) :]
            self.average = (sum(last) / len(last)).tobytes()
            self.model = sha(self.average)


def check_witnessed(content: bytes, run: Run, head: Any, hashes: Any, witnesses: Any) -> Any:
    found = json.loads(content)
    told = {"format": 1, "type": "fieldfare.witnessed-heads.v1"}
    told |= {name: found[name] for name in ("entries", "note")}
    need(content == canonical(told), "heads in canonical form")
    leaves = [hashlib.sha256(b"\0" + canonical(one)).digest() for one in found["entries"]]
    name = f"fieldfare.heads/{run.roster_key}"
    text = f"{name}\n{len(leaves)}\n{base64.b64encode(root(leaves)).decode()}\n"
    said, _, lines = found["note"].partition("\n\n")
    need(said + "\n" == text and lines.endswith("\n"), "a checkpoint of these heads")
    named = {key: run.its[key] for key in ("run", "study")}
    label = sha(b"fieldfare.head-label.v1", canonical(named))
    mine = [one for one in found["entries"] if one["label"] == label]
    need(max(one["size"] for one in mine) == head["size"], "the run's newest head")
    need(all(one["root"] == root(hashes[: one["size"]]).hex() for one in mine), "one story")
    given = [(one.split("+")[0], 4, unbase(one.split("+", 2)[2])[1:]) for one in witnesses]
    keys, times = {}, {}
    for who, kind, its in [(name, 1, bytes.fromhex(run.online)), *given]:
        keys[who, hashlib.sha256(who.encode() + b"\n" + bytes([kind]) + its).digest()[:4]] = its
    for line in lines[:-1].split("\n"):
        dash, who, raw = line.split(" ")
        key, signature, says = keys.get((who, unbase(raw)[:4])), unbase(raw)[4:], ""
        need(dash == "\u2014", "a signature line")
        if key and who != name:
            at, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            says, times[who] = f"cosignature/v1\ntime {at}\n", at
        if key:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, (says + text).encode())
            times.setdefault(who, 0)
    need(len(times) == len(witnesses) + 1, "signatures of the coordinator and of all witnesses")
    return times


def verify(folder: Path, roster_key: str, witnesses: Any) -> tuple[Run, list[str], Any]:
    *lines, last = (folder / "run.transcript").read_bytes().split(b"\n")
    found = [json.loads(line) for line in lines]
    need(last == b"" and [canonical(one) for one in found] == lines, "lines in canonical form")
    kinds = [next(iter(one)) if len(one) == 1 else "content" for one in found[1:]]
    need(kinds == sorted(kinds, key=SECTIONS.index) and kinds.count("head") == 1, "lines in order")
    vectors = [unbase(one["blob"]) for one in found if "blob" in one]
    run = Run(found[0], roster_key, {sha(vector): vector for vector in vectors})
    told = {**run.its, "format": 1, "type": "fieldfare.transcript.v1"}
    need(lines[0] == canonical(told), "a transcript")
    need([sha(vector) for vector in vectors] == sorted(run.blobs), "vectors sorted, each once")
    leaves = kinds.count("content")
    order = [one["kind"] for one in found[1 : leaves + 1] if one["kind"] in ("roster", "study")]
    need(order == ["roster", "study"], "one roster, and then one study")
    for one in found[1 : leaves + 1]:
        run.take(one["kind"], unbase(one["content"]))
    need(run.used == set(run.blobs), "the vectors of sums and no others")
    hashes = [hashlib.sha256(b"\0" + line).digest() for line in lines[1 : leaves + 1]]
    ends = found[1 + leaves + len(vectors) :]
    need(unbase(ends[0]["hashes"]) == b"".join(hashes), "the hashes of the leaves")
    head, _ = opened(unbase(ends[1]["head"]), "tree-head.v1", "coordinator", run.online)
    about = {"format": 1, "root": root(hashes).hex(), "size": len(hashes)}
    need({**head, **about, **run.its, "roster": 0} == {**head, "roster": 0}, "a head of this log")
    signers = [json.loads(unbase(one["cosignature"]))["signer"] for one in ends[2:]]
    need(signers == sorted({*signers} & {*run.members}), "co-signatures of members in order")
    whole = list[str]()
    for who, line in zip(signers, ends[2:], strict=True):
        body, _ = opened(unbase(line["cosignature"]), "cosigned-head.v1", who, run.members[who])
        fits = body["root"] == root(hashes[: body["size"]]).hex()
        need(fits and {**body, **run.its} == {**run.its, **body}, "a co-signature of this log")
        if (body["size"], body["misfit"], body["checked"]) == (head["size"], None, "recomputed"):
            whole.append(who)
    seen = (folder / "run.witnessed").read_bytes()
    need(len({*whole} & {*run.first}) >= max(run.least, len(run.first)) - run.t, "co-signatures")
    return run, whole, check_witnessed(seen, run, head, hashes, witnesses)


def main(folder: str, roster_key: str, *witnesses: str) -> str | int:
    try:
        run, whole, times = verify(Path(folder), roster_key, witnesses)
    except (Refused, InvalidSignature) as error:
        return f"REFUSED: expected {str(error) or 'valid signatures, each by whom it names'}"
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RecursionError):
        return "REFUSED: expected a published run in its canonical form"
    print(f"run {run.its['run']}: {run.sums} sums added up, {run.steps} steps; model {run.model}")
    print(f"co-signed by {', '.join(whole)}; heads signed at {times}")
    for who, (paid, *_) in sorted(run.spent.items()):
        print(f"{who} spent mu^2 {paid / 1e12:.6g}")
    said = "IN PART" if run.left else "ACCEPTED"
    print(f"{said} (not checked: {run.left}what metrics say of the sums)")
    return 2 if run.left else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
