import base64
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.leaves import (
    MAX_LEAF_BYTES,
    EndRecord,
    FairnessRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    ParametersRecord,
    SumRecord,
    TreeHead,
    UnsignedLeaf,
    tree_head,
)

H1, H2 = "1" * 64, "2" * 64
RECORDS: list[UnsignedLeaf] = [
    SumRecord(request=H1, participants=("bank-a", "bank-b"), words=H2),
    ParametersRecord(step=3, parameters=H1),
    MetricsRecord(metrics='{"auroc":0.5}'),
    MetricsRecord(metrics=""),
    FairnessRecord.of(-1.5, b"words"),
    ModelRecord(model=H1, steps=3),
    EndRecord(state="failed", reason="too few institutions"),
]


@given(st.sampled_from(LeafKind), st.binary(max_size=200))
def test_a_leaf_is_read_as_it_was_written(kind: LeafKind, content: bytes) -> None:
    leaf = Leaf(kind, content)
    assert Leaf.from_bytes(leaf.to_bytes()) == leaf


def test_a_leaf_has_these_bytes() -> None:
    leaf = Leaf(LeafKind.END, b"abc")
    assert leaf.to_bytes() == b'{"content":"YWJj","format":1,"kind":"end"}'
    assert leaf.hash == merkle.leaf_hash(leaf.to_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"\xff",
        b'{"content":"YWJj","format":1}',
        b'{"content":"YWJj","format":2,"kind":"end"}',
        b'{"content":"YWJj","format":true,"kind":"end"}',
        b'{"content":"YWJj","format":1.0,"kind":"end"}',
        b'{"content":"YWJj","format":1,"kind":"END"}',
        b'{"content":"YWJj","format":1,"kind":7}',
        b'{"content":7,"format":1,"kind":"end"}',
        b'{"content":"YWJj","format":1,"kind":"end","more":1}',
        b'{"content":"YWJj","content":"YWJj","format":1,"kind":"end"}',
        b'{"content":"YWJk\\u006a","format":1,"kind":"end"}',
        b'{"content":"YW==","format":1,"kind":"end"}',  # unused bits
        b'{"content":"YWJj\\n","format":1,"kind":"end"}',
        b'{"format":1,"content":"YWJj","kind":"end"}',
        b' {"content":"YWJj","format":1,"kind":"end"}',
        b'{"content":"YWJj","format":1,"kind":"end"}\n',
        b"[" * 100_000,
    ],
)
def test_no_other_bytes_are_a_leaf(content: bytes) -> None:
    with pytest.raises(ProtocolError):
        Leaf.from_bytes(content)


def test_a_leaf_has_a_limit() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        Leaf.from_bytes(b" " * (MAX_LEAF_BYTES + 1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_as_it_was_written(record: UnsignedLeaf) -> None:
    leaf = record.leaf()
    assert leaf.kind is record.KIND
    assert type(record).from_bytes(leaf.content) == record
    assert leaf.content == rfc8785.dumps(json.loads(leaf.content))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_no_second_spelling_of_a_record(record: UnsignedLeaf) -> None:
    content = record.to_bytes()
    fields = json.loads(content)
    spellings: list[bytes] = [
        content + b" ",
        content.replace(b":1", b":1.0", 1),
        rfc8785.dumps(fields | {"more": 1}),
        rfc8785.dumps(fields | {"format": 2}),
        rfc8785.dumps({k: v for k, v in fields.items() if k != "format"}),
        content[:-1] + b',"format":1}',
        b"",
        b"\xff",
        b"[" * 100_000,
    ]
    for spelling in spellings:
        with pytest.raises(ProtocolError):
            type(record).from_bytes(spelling)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (SumRecord, {"request": H1, "participants": ("b", "a"), "words": H2}),
        (SumRecord, {"request": H1, "participants": ("a", "a"), "words": H2}),
        (SumRecord, {"request": "x", "participants": ("a",), "words": H2}),
        (SumRecord, {"request": H1, "participants": ("a",), "words": H2.upper()[:-1] + "A"}),
        (ParametersRecord, {"step": -1, "parameters": H1}),
        (ParametersRecord, {"step": True, "parameters": H1}),
        (EndRecord, {"state": "running", "reason": ""}),
        (MetricsRecord, {"metrics": "{"}),
        (MetricsRecord, {"metrics": "[]"}),
        (MetricsRecord, {"metrics": '{"auroc": 0.5}'}),
        (MetricsRecord, {"metrics": '{"auroc":NaN}'}),
        (MetricsRecord, {"metrics": '{"auroc":1e999}'}),
        (MetricsRecord, {"metrics": '{"a":"\\ud800"}'}),
        (MetricsRecord, {"metrics": '{"a":' + "[" * 10_000}),
        (EndRecord, {"state": "failed", "reason": "x" * 5000}),
    ],
)
def test_records_out_of_range_are_none(kind: type[UnsignedLeaf], fields: dict[str, Any]) -> None:
    content = rfc8785.dumps(
        {"format": 1} | {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
    )
    with pytest.raises(ProtocolError):
        kind.from_bytes(content)


def test_a_head_covers_size_and_root() -> None:
    leaves = [record.leaf() for record in RECORDS]
    head = tree_head(H1, "run-1", [leaf.hash for leaf in leaves])
    assert head == TreeHead(
        study=H1,
        run="run-1",
        size=len(RECORDS),
        root=merkle.root([leaf.hash for leaf in leaves]).hex(),
    )
    assert tree_head(H1, "run-1", []).root == merkle.root([]).hex()


def test_a_leaf_carries_any_message() -> None:
    content = json.loads(Leaf(LeafKind.REQUEST, b"\x00\xff").to_bytes())
    assert base64.b64decode(content["content"]) == b"\x00\xff"


def test_counts_by_group_are_a_threshold_and_words() -> None:
    record = FairnessRecord.of(-1.5, b"words")
    assert record.to_bytes() == (
        b'{"format":1,"threshold":-1.5,"words":"' + base64.b64encode(b"words") + b'"}'
    )
    assert record.content == b"words"
    for wrong in (b"d29yZH==", b"d29yZA", b"not base64!"):
        content = record.to_bytes().replace(base64.b64encode(b"words"), wrong)
        with pytest.raises(ProtocolError):
            FairnessRecord.from_bytes(content)
