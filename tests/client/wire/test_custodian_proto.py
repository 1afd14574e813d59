"""What the data plane of a custodian can be asked: it frames nothing but bytes."""

from typing import Any

import pytest

from fieldfare.client.wire import custodian_pb2


def test_the_data_plane_has_these_calls_and_no_other() -> None:
    (service,) = custodian_pb2.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "fieldfare.custodian.v1.Custodian"
    assert [method.name for method in service.methods] == [
        "Describe",
        "Recall",
        "OpenRun",
        "Agree",
        "Release",
        "Reveal",
        "Publish",
        "Cosign",
        "Deliver",
    ]


def test_every_answer_is_content_or_a_refusal() -> None:
    for name, message in custodian_pb2.DESCRIPTOR.message_types_by_name.items():
        if name.endswith("Answer"):
            (choice,) = message.oneofs
            fields = {field.name for field in message.fields}
            # What people said, beside a refusal; fresh keys, beside an approval.
            beside = {"rejection", "run_answer", "question"} if name == "DescribeAnswer" else set()
            assert {field.name for field in choice.fields} == fields - beside, name
            assert "refusal" in fields, name


def test_a_frame_gives_back_the_bytes_that_it_was_given() -> None:
    content = bytes(range(256))
    others = [content[1:], b"", content[:1]]
    framed = custodian_pb2.ReleaseRequest(
        request=content, parameters=content[::-1], last_replies=others, last_vectors=others[::-1]
    )
    parsed = custodian_pb2.ReleaseRequest.FromString(framed.SerializeToString())
    assert (parsed.request, parsed.parameters) == (content, content[::-1])
    assert list(parsed.last_replies) == others  # also an empty one keeps its place
    assert list(parsed.last_vectors) == others[::-1]


def test_what_was_asked_before_there_was_a_last_sum_has_none() -> None:
    """A frame without the newer fields is read as a question that lacks them."""
    parsed = custodian_pb2.ReleaseRequest.FromString(b"\x0a\x01R\x12\x01p")
    assert (parsed.request, parsed.parameters) == (b"R", b"p")
    assert (parsed.last_request, list(parsed.last_replies), list(parsed.last_vectors)) == (
        b"",
        [],
        [],
    )
    assert custodian_pb2.DescribeRequest.FromString(b"\x0a\x01s").offer == b""


@pytest.mark.parametrize("name", ["agreed", "received"])
def test_an_empty_answer_is_one(name: str) -> None:
    """Presence, not content: without it an empty answer would look like none."""
    kinds: dict[str, Any] = {
        "agreed": custodian_pb2.AgreeAnswer,
        "received": custodian_pb2.DeliverAnswer,
    }
    framed = kinds[name](**{name: b""}).SerializeToString()
    assert kinds[name].FromString(framed).WhichOneof("answer") == name
    assert kinds[name].FromString(b"").WhichOneof("answer") is None
