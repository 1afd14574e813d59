"""A Ray cluster that is named has to be there."""

import socket

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.engines.cluster import check_listens


def test_an_address_where_nothing_listens_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        check_listens(f"127.0.0.1:{port}")
    with pytest.raises(UsageError, match=f"a Ray cluster at 127.0.0.1:{port}, found: Connection"):
        check_listens(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["", "10.0.0.1", "10.0.0.1:0", "ray://10.0.0.1:1", "a b:1"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(UsageError, match="--ray-address: expected"):
        check_listens(address)
