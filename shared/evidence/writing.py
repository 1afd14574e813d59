"""From facts to a pack: the page, the same for programs, the registry's record, the manifest."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple

from fieldfare.shared.evidence.document import CONFIRM, PARTS, EvidencePart, laws, written
from fieldfare.shared.evidence.facts import EvidenceFacts
from fieldfare.shared.evidence.pack import (
    EvidenceManifest,
    PackSigner,
    listed_files,
    pack_bytes,
)
from fieldfare.shared.evidence.registry import (
    TO_FILL_IN,
    Deployment,
    deployment_record,
    record_text,
)
from fieldfare.shared.evidence.values import values_of
from fieldfare.shared.pages.templates import page_template
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.terminal.texts import utc_text

PAGE: Final = "evidence.html"
PROGRAMS: Final = "evidence.json"
RECORD: Final = "registry.yaml"
BILL: Final = "sbom.cdx.json"
TEMPLATE: Final = resources.files("fieldfare.shared.evidence") / PAGE
FORMAT: Final = 1
TYPE: Final = "fieldfare.evidence.v1"


class PersonsPart(NamedTuple):
    """How often a person is asked for something, and in which parts."""

    places: int
    parts: tuple[EvidencePart, ...]


def evidence_pack(facts: EvidenceFacts, by: PackSigner | None) -> bytes:
    """Return a pack of evidence; the same facts and key give the same bytes.

    Args:
        facts: of a run or a study.
        by: who signs; None: nobody, and the pack says so.

    Raises:
        StudyError: a text asks for something that the facts do not hold.
        AccountingError: too few institutions for the study's collusion tolerance.
    """
    values = values_of(facts)
    parts = tuple(written(name, values) for name in PARTS)
    key = by.key if by else ""
    files = {
        PAGE: page(parts, values, facts, key).encode(),
        PROGRAMS: _programs(parts, values),
        RECORD: record_text(deployment_record(_deployment(facts, values))),
        BILL: facts.software.bill,
        **{f"papers/{name}": content for name, content in sorted(facts.papers.items())},
    }
    manifest = EvidenceManifest(
        made=utc_text(facts.made),
        role=facts.role.value,
        maker=facts.maker,
        key=key,
        study=facts.plan.study_id,
        run=facts.run,
        roster=facts.roster.hash,
        transcript=facts.root,
        policy=facts.own.policy if facts.own else "",
        software=facts.software.digest,
        files=listed_files(files),
    )
    return pack_bytes(manifest, files, by)


def page(
    parts: Sequence[EvidencePart], values: Mapping[str, Any], facts: EvidenceFacts, key: str
) -> str:
    """Return all parts as one page, the index first."""
    return page_template(TEMPLATE).render(
        parts=parts,
        facts=values,
        persons=persons_in(parts).items(),
        marks=_marks(facts),
        confirm=CONFIRM,
        key=fingerprint(bytes.fromhex(key)) if key else "",
    )


def persons_in(parts: Sequence[EvidencePart]) -> dict[str, PersonsPart]:
    """Return who has something to write, and where."""
    names = dict.fromkeys(one.whose for part in parts for one in part.blocks if one.whose)
    return {
        name: PersonsPart(
            sum(one.whose == name for part in parts for one in part.blocks),
            tuple(part for part in parts if name in part.persons),
        )
        for name in names
    }


def _marks(facts: EvidenceFacts) -> list[tuple[str, str]]:
    """Return the hashes of what the pack is of, those that are known."""
    said = [
        ("Study", facts.plan.study_id),
        ("Roster", facts.roster.hash),
        ("Log of the run", facts.root),
        ("Transcript, SHA-256", facts.transcript),
        ("Policy, SHA-256", facts.own.policy if facts.own else ""),
        ("Ledger, last entry", facts.own.ledger_head if facts.own else ""),
        ("Software, SHA-256", facts.software.digest),
    ]
    return [(name, value) for name, value in said if value]


def _programs(parts: Sequence[EvidencePart], values: Mapping[str, Any]) -> bytes:
    law = {key: {**said, "status": CONFIRM} for key, said in laws().items()}
    content = {
        "format": FORMAT,
        "type": TYPE,
        "facts": _finite(values),
        "law": law,
        "parts": [part.as_dict() for part in parts],
    }
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def _finite(value: Any) -> Any:
    """Copy values for JSON, which has no infinity: what is beyond every number is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def _deployment(facts: EvidenceFacts, values: Mapping[str, Any]) -> Deployment:
    study, loss = facts.plan.study, values["loss"]
    first = facts.times[0].began if facts.times else facts.made
    return Deployment(
        slug=f"fieldfare-{study.name}-{facts.run or study.id[:12]}",
        name=f"Study {study.name}" + (f", run {facts.run}" if facts.run else ""),
        curators=facts.participants,
        authors=(facts.maker,),
        use=study.purpose or TO_FILL_IN,
        trains=study.trains,
        colluders=str(study.privacy.collusion_tolerance),
        day=f"{first:%Y-%m-%d}",
        unprotected="Who takes part, when, the number and the sizes of messages; what the study "
        "declares public: its features' bounds, knots, levels and unit counts.",
        epsilon=loss["planned"]["epsilon"],
        delta=study.privacy.delta,
        details=f"Promised for everything that the study releases. mu {loss['planned']['mu']!r} in "
        f"Gaussian DP, rho {loss['planned']['rho']!r} in zCDP; spent: epsilon "
        f"{loss['spent']['epsilon']!r} ({loss['spent_of']}).",
        composition="mu^2 of Gaussian DP adds up over releases and runs, also when each is chosen "
        "after seeing the last; a unit is in training or in the hold-out, so it loses what reads "
        f"all and the larger of the two. mu^2 planned: {loss['planned']['mu2']!r}.",
        notes=f"Evidence: study {study.id}, log {facts.root or 'not given'}.",
    )
