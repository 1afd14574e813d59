"""What both ends of the socket agree on."""

from pathlib import Path

import pytest

from fieldfare.client.wire import custodian_pb2
from fieldfare.client.wire.frames import (
    LARGEST_FRAME,
    LARGEST_QUESTION,
    LONGEST_LIST,
    LONGEST_NAME,
    SERVICE,
    checked_list,
    checked_name,
    path_of,
    unix_address,
)
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.delivery import LARGEST_CARD, LARGEST_MODEL
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES
from fieldfare.shared.protocol.plan import MOST_WORDS
from fieldfare.shared.study.study import MAX_STUDY_BYTES
from fieldfare.shared.transcript.heads import MOST_SHOWN


def test_every_call_has_a_limit() -> None:
    calls = {m.name for m in custodian_pb2.DESCRIPTOR.services_by_name["Custodian"].methods}
    assert set(LARGEST_QUESTION) == calls
    assert max(LARGEST_QUESTION.values()) <= LARGEST_FRAME


def test_the_largest_message_fits_its_frame() -> None:
    frame = custodian_pb2.ReleaseRequest(request=b"x", parameters=bytes(MAX_MESSAGE_BYTES))
    assert MAX_MESSAGE_BYTES < len(frame.SerializeToString()) <= LARGEST_QUESTION["Release"]


def test_the_largest_last_sum_fits_beside_its_step() -> None:
    """2^18 words of 64 bits in all, a reply of 2 KiB of each of a thousand participants."""
    vectors = [bytes(8 * MOST_WORDS // 1024)] * LONGEST_LIST
    parameters = bytes(8 * MOST_WORDS // 1024)
    frame = custodian_pb2.ReleaseRequest(
        request=bytes(512 * 1024),
        parameters=parameters,
        last_request=bytes(512 * 1024),
        last_replies=[bytes(2048)] * LONGEST_LIST,
        last_vectors=vectors,
    )
    assert sum(map(len, vectors)) == 8 * MOST_WORDS
    assert len(frame.SerializeToString()) <= LARGEST_QUESTION["Release"]


def test_the_largest_model_study_and_proof_fit_their_frames() -> None:
    delivery = custodian_pb2.DeliverRequest(
        delivery=bytes(4096), model=bytes(LARGEST_MODEL), card=bytes(LARGEST_CARD)
    )
    assert len(delivery.SerializeToString()) <= LARGEST_QUESTION["Deliver"]
    hello = custodian_pb2.DescribeRequest(
        study="0" * 64, last_reply=bytes(4096), offer=bytes(MAX_STUDY_BYTES + 4096)
    )
    assert len(hello.SerializeToString()) <= LARGEST_QUESTION["Describe"]
    cosign = custodian_pb2.CosignRequest(
        study="0" * 64, run="r" * LONGEST_NAME, head=bytes(4096), log=bytes(MOST_SHOWN)
    )
    assert len(cosign.SerializeToString()) <= LARGEST_QUESTION["Cosign"]


def test_paths_are_what_grpc_calls() -> None:
    assert (
        path_of("Release") == f"/{SERVICE}/Release" == "/fieldfare.custodian.v1.Custodian/Release"
    )


def test_no_character_of_a_path_is_special() -> None:
    assert unix_address(Path("/run/a b%41?#/s")) == "unix:/run/a%20b%2541%3F%23/s"


@pytest.mark.parametrize("name", ["", "a" * 64, "x" * LONGEST_NAME])
def test_names_pass(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["x" * (LONGEST_NAME + 1), "é", "\N{SNOWMAN}"])
def test_long_and_other_names_do_not(name: str) -> None:
    with pytest.raises(ProtocolError, match="ASCII"):
        checked_name(name)


def test_lists_have_an_end() -> None:
    assert checked_list([b"a"] * LONGEST_LIST) == [b"a"] * LONGEST_LIST
    with pytest.raises(ProtocolError, match="at most"):
        checked_list([b""] * (LONGEST_LIST + 1))
