import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.network.witnesses import is_grown

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.merkle import (
    RootBuilder,
    consistency_path,
    leaf_hash,
    root,
)

# The tree that the reference implementation of Certificate Transparency is tested with.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def slow_root(hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = slow_split(len(hashes))
    return hashlib.sha256(b"\x01" + slow_root(hashes[:k]) + slow_root(hashes[k:])).digest()


def slow_split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def tree(size: int) -> list[bytes]:
    return [leaf_hash(str(i).encode()) for i in range(size)]


def test_a_leaf_is_hashed_under_zero() -> None:
    assert leaf_hash(b"").hex() == ROOTS[0]
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert root([]).hex() == EMPTY


@pytest.mark.parametrize("size", range(1, 9))
def test_reference_roots(size: int) -> None:
    assert root(HASHES[:size]).hex() == ROOTS[size - 1]


@given(st.integers(0, 70))
def test_roots_are_those_of_the_recursive_definition(size: int) -> None:
    hashes = tree(size)
    builder = RootBuilder()
    for count, leaf in enumerate(hashes):
        assert builder.size == count
        builder.add(leaf)
    assert builder.root() == root(hashes) == slow_root(hashes)


def test_only_hashes_go_in() -> None:
    with pytest.raises(ProtocolError):
        root([b"short"])


def test_every_log_proves_that_it_grew_from_every_smaller_one() -> None:
    for size in range(1, 34):
        hashes = tree(size)
        for old in range(1, size + 1):
            path = consistency_path(hashes, old)
            before = root(hashes[:old])
            assert is_grown(old, size, before, root(hashes), path)
            assert len(path) <= 2 * size.bit_length()
            other = [*hashes[: old - 1], leaf_hash(b"another"), *hashes[old:]]
            assert not is_grown(old, size, before, root(other), consistency_path(other, old))
        assert consistency_path(hashes, 0) == ()


def test_a_log_does_not_grow_from_a_larger_one() -> None:
    for old in (-1, 4):
        with pytest.raises(ProtocolError, match="at most 3 leaves"):
            consistency_path(tree(3), old)
