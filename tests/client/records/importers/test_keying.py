"""Keys are HMAC-SHA256, the same every time, and nobody else's."""

import hmac
from pathlib import Path

import pyarrow as pa
import pytest

from fieldfare.client.records.importers.base import KEY_BYTES, KeyedHash, keyed_hash
from fieldfare.shared.errors import KeysError, UsageError

KEY = bytes(range(KEY_BYTES))


def test_a_key_is_hmac_sha256_of_kind_and_name() -> None:
    expected = hmac.new(KEY, b"account\0DE00", "sha256").hexdigest()
    assert KeyedHash(KEY).of("account", "DE00") == expected
    assert KeyedHash(KEY).of("merchant", "DE00") != expected
    assert KeyedHash(KEY[::-1]).of("account", "DE00") != expected


def test_a_column_is_its_names_one_by_one() -> None:
    keyed = KeyedHash(KEY)
    names = pa.chunked_array([["a", None, "b"], ["a"]], pa.string())
    expected = [keyed.of("account", "a"), None, keyed.of("account", "b"), keyed.of("account", "a")]
    assert keyed.column("account", names).to_pylist() == expected


def test_the_key_file_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "records.key"
    first = keyed_hash(path).of("account", "a")
    assert path.stat().st_mode & 0o777 == 0o600
    assert keyed_hash(path).of("account", "a") == first


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(KeysError, match="32 bytes, found 5"):
        keyed_hash(path)
    path.write_bytes(KEY)
    path.chmod(0o644)
    with pytest.raises(KeysError):
        keyed_hash(path)
    with pytest.raises(UsageError, match="--key-file"):
        keyed_hash(tmp_path / "nowhere" / "records.key")
