import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from fieldfare.shared.evidence.document import CONFIRM, PARTS
from fieldfare.shared.evidence.facts import EvidenceFacts, PersonDecision
from fieldfare.shared.evidence.pack import check_pack, packed_files
from fieldfare.shared.evidence.writing import BILL, PAGE, PROGRAMS, RECORD, evidence_pack


@pytest.fixture
def files(facts: EvidenceFacts) -> dict[str, bytes]:
    return packed_files(evidence_pack(facts, None))


def test_the_same_facts_and_clock_give_the_same_bytes(facts: EvidenceFacts) -> None:
    assert evidence_pack(facts, None) == evidence_pack(facts, None)
    later = replace(facts, made=facts.made + timedelta(seconds=1))
    assert evidence_pack(later, None) != evidence_pack(facts, None)


def test_a_pack_has_all_parts_and_its_manifest_says_of_what(facts: EvidenceFacts) -> None:
    content = evidence_pack(facts, None)
    check = check_pack(content)
    assert check.problems == ()
    assert check.manifest is not None
    assert [one.name for one in check.manifest.files] == [
        *(PAGE, PROGRAMS, RECORD, BILL),
        *("papers/roster.signed", "papers/study.signed"),
    ]
    assert check.manifest.study == facts.plan.study_id
    assert check.manifest.run == facts.run
    assert check.manifest.transcript == facts.root
    assert check.manifest.software == facts.software.digest
    told = json.loads(packed_files(content)[PROGRAMS])
    assert [part["name"] for part in told["parts"]] == list(PARTS)
    assert {one["status"] for one in told["law"].values()} == {CONFIRM}


def test_the_page_needs_nothing_else_and_runs_nothing(files: dict[str, bytes]) -> None:
    page = files[PAGE].decode()
    assert "<script" not in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", page)
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert "This pack is not signed" in page
    assert CONFIRM in page


def test_each_part_and_each_person_is_reached_from_the_index(files: dict[str, bytes]) -> None:
    page = files[PAGE].decode()
    index = page[page.index('id="index"') : page.index('class="part"')]
    for name in PARTS:
        assert f'href="#{name}"' in index
        assert f'id="{name}"' in page
    told = json.loads(files[PROGRAMS])
    persons = {block["whose"] for part in told["parts"] for block in part["blocks"]
               if "whose" in block}  # fmt: skip
    assert persons
    for one in persons:
        assert one in index


def test_the_registrys_record_is_yaml(facts: EvidenceFacts, files: dict[str, bytes]) -> None:
    record = yaml.safe_load(files[RECORD])
    deployment = record["deployment"]
    loss = deployment["privacy_loss"]
    assert loss["privacy_parameters"] == {
        "epsilon": facts.plan.epsilon(),
        "delta": facts.plan.study.privacy.delta,
    }
    assert deployment["basic"]["data_curators"] == list(facts.participants)
    assert deployment["basic"]["data_product_type"] == "Machine learning model"
    assert {"dp_variant", "accounting", "implementation", "deployment_model"} <= deployment.keys()


def test_strangers_words_stay_words(facts: EvidenceFacts) -> None:
    hostile = PersonDecision("<b>x</b>\x1b[2J{{ 7*7 }}", "said \u202eyes", "now")
    study = facts.plan.study.model_copy(update={"purpose": "<script>x</script>"})
    changed = replace(facts, plan=replace(facts.plan, study=study), decisions=(hostile,))
    changed = replace(changed, names_people=True)
    files = packed_files(evidence_pack(changed, None))
    page = files[PAGE].decode()
    assert "<script>" not in page
    assert "<b>x</b>" not in page
    assert "\x1b" not in page + files[PROGRAMS].decode()
    assert "\u202e" not in page


def test_a_run_of_questions_has_a_pack_too(facts_of: Callable[[str], EvidenceFacts]) -> None:
    for name in ("questions", "resumed"):
        facts = facts_of(name)
        told = json.loads(packed_files(evidence_pack(facts, None))[PROGRAMS])
        assert told["facts"]["run"]["id"] == facts.run
        assert facts.report is not None
        assert told["facts"]["run"]["failed"] == facts.report.failed_attempts


@pytest.mark.parametrize("named", [False, True])
def test_who_decided_is_numbered_unless_names_are_asked_for(
    facts: EvidenceFacts, *, named: bool
) -> None:
    decided = (
        PersonDecision("the coordinator", "sent the study", "", person=False),
        *(PersonDecision(who, "enrol", "") for who in ("mallory", "alice", "mallory")),
    )
    content = evidence_pack(replace(facts, decisions=decided, names_people=named), None)
    told = json.loads(packed_files(content)[PROGRAMS])["facts"]["decisions"]
    people = ["mallory", "alice", "mallory"] if named else ["person 1", "person 2", "person 1"]
    assert [one["who"] for one in told] == ["the coordinator", *people]
    assert (b"mallory" in content) is named
