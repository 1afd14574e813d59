"""What both ends of the socket agree on."""

from pathlib import Path

import pytest

from fieldfare.client.frames import (
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
from fieldfare.shared import custodian_pb2
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.messages import MAX_MESSAGE_BYTES


def test_every_call_has_a_limit() -> None:
    calls = {m.name for m in custodian_pb2.DESCRIPTOR.services_by_name["Custodian"].methods}
    assert set(LARGEST_QUESTION) == calls
    assert max(LARGEST_QUESTION.values()) <= LARGEST_FRAME


def test_the_largest_message_fits_its_frame() -> None:
    frame = custodian_pb2.ReleaseRequest(request=b"x", parameters=bytes(MAX_MESSAGE_BYTES))
    assert MAX_MESSAGE_BYTES < len(frame.SerializeToString()) <= LARGEST_QUESTION["Release"]


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
