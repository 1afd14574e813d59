"""Verify a published run: `python verify.py DIR ROSTER_KEY [WITNESS_KEY ...]`.

Written from docs/transcript.md alone. ROSTER_KEY is the coordinator's in hex, as you had it from
members, WITNESS_KEY a witness's verifier key; all witnesses that you name must have signed.
"""

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

MEMBERS = "approval.v2 run-answer.v1 key-offer.v2 commitment.v1 reply.v3 rehearsal-keys.v1".split()
BY_MEMBERS = dict(zip("approval hello offer commitment reply keys".split(), MEMBERS, strict=True))
OURS = {"opening": "run-opening.v2", "request": "request.v2", "study": "study-offer.v1"}
Told = dict[str, Any]
SECTIONS = "content blob hashes head cosignature".split()


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


def check_signature(key: bytes, signature: bytes, content: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, content)
    except (InvalidSignature, ValueError):
        raise Refused(f"a valid signature on {what}") from None


def opened(content: bytes, kind: str, signer: str, key: str) -> tuple[Any, str]:
    found = json.loads(content)
    tail = b"," + canonical({name: found[name] for name in ("signature", "signer", "type")})[1:]
    kind = f"fieldfare.{kind}"
    need(content.startswith(b'{"body":') and content.endswith(tail), "an envelope")
    need((found["type"], found["signer"]) == (kind, signer), f"{kind} of {signer}")
    said = kind.encode() + b"\0" + content[len(b'{"body":') : -len(tail)]
    check_signature(bytes.fromhex(key), unbase(found["signature"]), said, f"{kind} of {signer}")
    return found["body"], sha(said)


class Run:
    def __init__(self, header: Any, roster_key: str, blobs: dict[str, bytes]) -> None:
        self.its_study, self.its_run, self.roster_key = header["study"], header["run"], roster_key
        self.blobs, self.openings, self.steps, self.sums = blobs, 0, 0, 0
        self.model, self.used, self.tail, self.said = "", set[str](), list[Any](), list[bytes]()
        self.members, self.answers, self.attempts = Told(), Told(), dict[tuple[str, int], int]()
        self.spent, self.replies, self.commitments, self.first = Told(), Told(), Told(), Told()
        self.p: Any = None

    def take(self, kind: str, content: bytes) -> None:
        if kind == "roster":
            body, _ = opened(content, "roster-offer.v2", "coordinator-roster", self.roster_key)
            self.its_roster = sha(b"fieldfare.roster.v1", body["roster"].encode())
            roster = json.loads(body["roster"])
            self.members = {one["id"]: one["key"] for one in roster["members"]}
            self.online = roster["coordinator"]
        elif kind in OURS or kind in BY_MEMBERS:
            who = "coordinator" if kind in OURS else json.loads(content)["signer"]
            key = self.online if kind in OURS else self.members.get(who, "")
            body, name = opened(content, OURS.get(kind) or BY_MEMBERS[kind], who, key)
            need(body.get("institution", who) == who, f"{kind} by whom it is of")
            for field in ("study", "run", "roster") if kind != "study" else ():
                own = getattr(self, f"its_{field}")
                need(body.get(field, own) == own, f"the run's {field} in {kind}")
            if kind == "hello":
                self.answers[who] = name
            elif kind == "commitment":
                need(body["request"] == self.asked, "a commitment to this request")
                self.said, self.commitments = [*self.said, content], {**self.commitments, who: body}
            elif hasattr(self, kind):
                getattr(self, kind)(body, name)
        elif kind == "sum":
            self.sum(json.loads(content))
        elif kind in ("parameters", "model"):
            follows = sha(self.p.tobytes()) if kind == "parameters" else self.model
            need(json.loads(content)[kind] == follows, f"the {kind} that follow from the sums")

    def study(self, body: Any, _: str) -> None:
        need(sha(b"fieldfare.study.v1", body["study"].encode()) == self.its_study, "the study")
        self.plan = plan = json.loads(body["study"])
        self.training, self.records, model = plan["training"], plan["records"], plan["model"]
        self.t = plan["privacy"]["collusion_tolerance"]
        self.least = max(plan["aggregation"]["minimum_institutions"], self.t + 2)
        more = model.get("start") or self.plan.get("geometry") or self.training.get("local_steps")
        more = more or any("knots_from" in one for one in self.plan["features"])
        need(model["kind"] == "additive" and not more, "a plain additive model: use `audit`")

    def opening(self, body: Any, name: str) -> None:
        need(body["number"] == self.openings, "openings counted without a gap")
        self.present = {one["institution"]: one["answer"] for one in body["participants"]}
        need(self.present.items() <= self.answers.items(), "answers of all participants")
        self.openings, self.opened, self.answers = self.openings + 1, name, {}
        self.first = self.first or self.present

    def request(self, r: Any, name: str) -> None:
        self.r, self.asked, self.said, self.commitments, self.replies = r, name, [], {}, {}
        self.names = names = [one["institution"] for one in r["participants"]]
        need(r["opening"] == self.opened, "a request under the newest opening")
        need(names == sorted({*names}) and self.least <= r["n"] == len(names), "participants")
        asked = {one["institution"]: one["answer"] for one in r["participants"]}
        need(asked.items() <= self.present.items(), "participants of the opening")
        need(r["attempt"] == self.attempts.get((r["kind"], r["step"]), 0), "attempts without a gap")
        self.attempts[r["kind"], r["step"]] = r["attempt"] + 1
        if self.p is None:
            self.start()
        if r["kind"] in ("rehearsal", "training"):
            need(r["parameters"] == sha(self.p.tobytes()), f"the parameters of step {r['step']}")
        elif r["kind"] == "evaluation":
            need(r["parameters"] == self.model, "the parameters of the model")

    def start(self) -> None:
        self.p, self.b1, self.b2 = np.zeros(self.r["entries"]), 1.0, 1.0
        self.m, self.v, odds = 0 * self.p, 0 * self.p, self.records["prevalence"]
        first = math.log(odds / (1 - odds))
        for units in (2, -2, 1, -1, 0):
            self.p[0] = first + units * math.ulp(first)
            if sha(self.p.tobytes()) == self.r["parameters"]:
                return

    def reply(self, body: Any, _: str) -> None:
        r, who = self.r, body["institution"]
        need(who in self.names and who > max(self.replies, default=""), "replies in order")
        need((body["request"], body["answer"]) == (self.asked, self.present[who]), "a reply to it")
        if self.plan["aggregation"]["opening"] == "on":
            held = self.commitments[who]
            everybody = sha(b"fieldfare.statements.v1", b"[" + b",".join(self.said) + b"]")
            need(sorted(self.commitments) == self.names, "everybody's commitment")
            need(body["statements"] == everybody, "the list of all commitments")
            need(body["vector"] == held["vector"], "the vector that was committed to")
            need(sha(bytes.fromhex(body["seed"])) == held["seed"], "the committed seed")
        noise, reach = r["sigma"] ** 2 - 4 * 4.0 ** -r["gamma_bits"], r["clipping_norm"]
        price = 0 if noise <= 0 else (r["multiplicity"] * reach) ** 2 / noise * 1e12
        need((noise > 0 or r["kind"] == "rehearsal") and abs(body["debit"] - price) <= 1, "a debit")
        paid, *before = self.spent.get(who, (0, 0, 0, 0))
        now = [body["ledger_sequence"], body["debited"], body["cumulative"]]
        rose = [after - last for after, last in zip(now, before, strict=True)]
        need(min(rose) >= 0 and rose[1] >= max(body["debit"], rose[2]), f"{who}'s ledger onward")
        self.spent[who] = (paid + body["debit"], *now)
        self.replies[who] = body

    def sum(self, body: Any) -> None:
        r, size = self.r, self.r["word_bits"] // 8
        need(body["request"] == self.asked, "a sum of this request")
        need(body["participants"] == self.names == sorted(self.replies), "a sum of all replies")
        total = np.zeros(r["entries"], f"<u{size}")  # unsigned words add up modulo 2^k
        for reply in self.replies.values():
            self.used.add(reply["vector"])
            total = total + np.frombuffer(self.blobs[reply["vector"]], total.dtype)
            if reply["seed"]:
                key = algorithms.ChaCha20(bytes.fromhex(reply["seed"]), bytes(16))
                stream = Cipher(key, None).encryptor().update(bytes(r["entries"] * size))
                total = total - np.frombuffer(stream, total.dtype)
        need(sha(total.tobytes()) == body["words"], f"the sum of {r['kind']} {r['step']}")
        need(r["kind"] != "rehearsal" or not total.any(), "a rehearsal that comes to zero")
        self.sums, self.asked = self.sums + 1, ""  # a request has one sum
        if r["kind"] == "training":
            self.step(total.view(f"<i{size}") * 2.0 ** -r["gamma_bits"])

    def step(self, total: Any) -> None:
        t, self.steps = self.training, self.steps + 1
        g = total / (self.records["units"] * (1 - self.plan["evaluation"]["holdout"]))
        self.m = t["beta1"] * self.m + (1 - t["beta1"]) * g
        self.v = t["beta2"] * self.v + (1 - t["beta2"]) * (g * g)
        self.b1, self.b2 = self.b1 * t["beta1"], self.b2 * t["beta2"]
        spread = np.sqrt(self.v / (1 - self.b2)) + 1e-8
        self.p = np.clip(self.p - t["learning_rate"] * (self.m / (1 - self.b1)) / spread, -1e4, 1e4)
        if self.steps > t["steps"] - max(1, math.floor(t["steps"] * t["average_last"])):
            self.tail.append(self.p)
        if self.steps == t["steps"]:
            self.model = sha((sum(self.tail) / len(self.tail)).tobytes())


def check_cosigned(run: Run, lines: list[Any], head: Any, hashes: list[bytes]) -> list[str]:
    whole, before = [], ""
    for line in lines:
        content = unbase(line["cosignature"])
        who = json.loads(content)["signer"]
        need(who in run.members and who > before, "co-signatures of members in order")
        body, _ = opened(content, "cosigned-head.v1", who, run.members[who])
        need((body["study"], body["run"]) == (run.its_study, run.its_run), "this run's head")
        need(body["root"] == root(hashes[: body["size"]]).hex(), "a co-signature of this log")
        if (body["size"], body["misfit"], body["checked"]) == (head["size"], None, "recomputed"):
            whole.append(who)
        before = who
    return whole


def check_witnessed(content: bytes, run: Run, head: Any, hashes: Any, witnesses: Any) -> Any:
    found = json.loads(content)
    fits = found["type"] == "fieldfare.witnessed-heads.v1" and found["format"] == 1
    need(fits and canonical(found) == content, "witnessed heads in canonical form")
    leaves = [hashlib.sha256(b"\0" + canonical(one)).digest() for one in found["entries"]]
    name = f"fieldfare.heads/{run.roster_key}"
    text = f"{name}\n{len(leaves)}\n{base64.b64encode(root(leaves)).decode()}\n"
    said, _, lines = found["note"].partition("\n\n")
    need(said + "\n" == text and lines.endswith("\n"), "a checkpoint of these heads")
    label = sha(b"fieldfare.head-label.v1", canonical({"run": run.its_run, "study": run.its_study}))
    mine = [one for one in found["entries"] if one["label"] == label]
    need(max(one["size"] for one in mine) == head["size"], "the run's newest head")
    for one in mine:
        need(one["root"] == root(hashes[: one["size"]]).hex(), "one story of this run")
    given = [(one.split("+")[0], 4, unbase(one.split("+", 2)[2])[1:]) for one in witnesses]
    keys, times = {}, {}
    for who, kind, public in [(name, 1, bytes.fromhex(run.online)), *given]:
        told = who.encode() + b"\n" + bytes([kind]) + public
        keys[who, hashlib.sha256(told).digest()[:4]] = public
    for line in lines[:-1].split("\n"):
        dash, who, raw = line.split(" ")
        key, signature, says = keys.get((who, unbase(raw)[:4])), unbase(raw)[4:], ""
        need(dash == "\u2014", "a signature line")
        if key and who != name:
            at, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            says, times[who] = f"cosignature/v1\ntime {at}\n", at
        if key:
            check_signature(key, signature, (says + text).encode(), who)
            times.setdefault(who, 0)
    need(len(times) == len(witnesses) + 1, "signatures of the coordinator and of all witnesses")
    return times


def verify(folder: Path, roster_key: str, witnesses: Any) -> tuple[Run, list[str], Any]:
    lines = (folder / "run.transcript").read_bytes().split(b"\n")
    need(lines.pop() == b"", "a line feed at the end")
    found = [json.loads(line) for line in lines]
    need(all(canonical(one) == line for one, line in zip(found, lines, strict=True)), "canonical")
    need(found[0]["type"] == "fieldfare.transcript.v1" and found[0]["format"] == 1, "a transcript")
    kinds = [next(iter(one)) if len(one) == 1 else "content" for one in found[1:]]
    need(kinds == sorted(kinds, key=SECTIONS.index) and kinds.count("head") == 1, "lines in order")
    vectors = [unbase(one["blob"]) for one in found if "blob" in one]
    run = Run(found[0], roster_key, {sha(vector): vector for vector in vectors})
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
    about = {"format": 1, "root": root(hashes).hex(), "run": run.its_run, "size": len(hashes)}
    need(head == {**about, "study": run.its_study}, "a head of this log")
    whole = check_cosigned(run, ends[2:], head, hashes)
    seen = (folder / "run.witnessed").read_bytes()
    need(len({*whole} & {*run.first}) >= max(run.least, len(run.first)) - run.t, "co-signatures")
    return run, whole, check_witnessed(seen, run, head, hashes, witnesses)


def main(folder: str, roster_key: str, *witnesses: str) -> str | int:
    try:
        run, whole, times = verify(Path(folder), roster_key, witnesses)
    except Refused as error:
        return f"REFUSED: expected {error}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return "REFUSED: expected a published run in its canonical form"
    print(f"run {run.its_run}: {run.sums} sums added up, {run.steps} steps; model {run.model}")
    print(f"co-signed by {', '.join(whole)}; heads signed at {times}")
    for who, (paid, *_) in sorted(run.spent.items()):
        print(f"{who} spent mu^2 {paid / 1e12:.6g}")
    print("ACCEPTED (not checked: what metrics and answers say of the sums)")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
