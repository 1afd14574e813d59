import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.merkle import (
    RootBuilder,
    consistency_path,
    leaf_hash,
    root,
    verify_consistency,
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
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
CONSISTENCIES = [  # older size, size, path
    (1, 1, []),
    (1, 8, [A, B, C]),
    (6, 8, [F, E, ROOTS[3]]),
    (2, 5, [B, D]),
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


def slow_proof(m: int, hashes: Sequence[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962 section 2.1.2, word for word."""
    if m == len(hashes):
        return [] if whole else [slow_root(hashes)]
    k = slow_split(len(hashes))
    if m <= k:
        return [*slow_proof(m, hashes[:k], whole=whole), slow_root(hashes[k:])]
    return [*slow_proof(m - k, hashes[k:], whole=False), slow_root(hashes[:k])]


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


@pytest.mark.parametrize(("old", "size", "path"), CONSISTENCIES)
def test_reference_consistency_paths(old: int, size: int, path: list[str]) -> None:
    found = consistency_path(old, HASHES[:size])
    assert [node.hex() for node in found] == path
    roots = bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[size - 1])
    verify_consistency(old, roots[0], size, roots[1], found)


@given(st.integers(0, 70))
def test_roots_are_those_of_the_recursive_definition(size: int) -> None:
    hashes = tree(size)
    builder = RootBuilder()
    for count, leaf in enumerate(hashes):
        assert builder.size == count
        builder.add(leaf)
    assert builder.root() == root(hashes) == slow_root(hashes)


@given(st.data(), st.integers(1, 70))
def test_consistency_is_that_of_the_recursive_definition(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size))
    hashes = tree(size)
    path = consistency_path(old, hashes)
    assert list(path) == slow_proof(old, hashes)
    verify_consistency(old, root(hashes[:old]), size, root(hashes), path)


@given(st.data(), st.integers(2, 40))
def test_every_changed_consistency_is_refused(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    hashes = tree(size)
    path = list(consistency_path(old, hashes))
    before, after = root(hashes[:old]), root(hashes)
    with pytest.raises(ProtocolError):
        verify_consistency(old, before, size, after, _changed(data, path))
    with pytest.raises(ProtocolError):
        verify_consistency(old, leaf_hash(b"other"), size, after, path)
    with pytest.raises(ProtocolError):
        verify_consistency(old, before, size, leaf_hash(b"other"), path)


@given(st.data(), st.integers(2, 40))
def test_a_rewritten_history_has_no_consistency_path(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    at = data.draw(st.integers(0, old - 1))
    hashes = tree(size)
    rewritten = [*hashes[:at], leaf_hash(b"other"), *hashes[at + 1 :]]
    path = consistency_path(old, rewritten)
    with pytest.raises(ProtocolError):
        verify_consistency(old, root(hashes[:old]), size, root(rewritten), path)


def _changed(data: st.DataObject, path: list[bytes]) -> list[bytes]:
    """One element more, one fewer, one with another bit, one cut short, or two swapped."""
    at = data.draw(st.integers(0, len(path) - 1))
    flipped = bytes([path[at][0] ^ 1]) + path[at][1:]
    choices = [
        [*path, leaf_hash(b"more")],
        [*path[:at], leaf_hash(b"more"), *path[at:]],
        path[:at] + path[at + 1 :],
        [*path[:at], flipped, *path[at + 1 :]],
        [*path[:at], path[at][:-1], *path[at + 1 :]],
        [*path[:at], path[at] + b"\x00", *path[at + 1 :]],
        [],
    ]
    return data.draw(st.sampled_from(choices))


@pytest.mark.parametrize("old", [-1, 9])
def test_there_is_no_path_from_a_size_outside(old: int) -> None:
    with pytest.raises(ProtocolError):
        consistency_path(old, HASHES)
    with pytest.raises(ProtocolError):
        verify_consistency(old, root(HASHES), 8, root(HASHES), [])


def test_growing_from_nothing_needs_no_path() -> None:
    assert consistency_path(0, HASHES) == ()
    verify_consistency(0, root([]), 8, root(HASHES), [])
    with pytest.raises(ProtocolError):
        verify_consistency(0, root([]), 8, root(HASHES), [HASHES[0]])
    with pytest.raises(ProtocolError):
        verify_consistency(0, HASHES[0], 8, root(HASHES), [])


def test_the_same_size_is_consistent_with_the_same_root_only() -> None:
    verify_consistency(8, root(HASHES), 8, root(HASHES), [])
    with pytest.raises(ProtocolError):
        verify_consistency(8, root(HASHES), 8, root(HASHES[:7]), [])
    with pytest.raises(ProtocolError):
        verify_consistency(8, root(HASHES), 8, root(HASHES), [HASHES[0]])


def test_a_log_never_shrinks() -> None:
    with pytest.raises(ProtocolError):
        verify_consistency(8, root(HASHES), 7, root(HASHES[:7]), [])


def test_only_hashes_go_in() -> None:
    with pytest.raises(ProtocolError):
        root([b"short"])
