import hashlib
import io
import tomllib
import zipfile
from importlib import import_module

from flwr.common.config import get_fab_config

from fieldfare.server.home.initial_setup import build_bundle, bundle_hash

# What institutions list. It changes only together with a line in the changelog that says so.
HASH = "b99e42caf44aff4dd7aa57a47d19af4059aece51dffb673511ce6dcc06869bce"


def test_the_bundle_is_the_same_bytes_everywhere() -> None:
    assert build_bundle() == build_bundle()
    assert bundle_hash(build_bundle()) == hashlib.sha256(build_bundle()).hexdigest() == HASH


def test_flower_reads_it_and_finds_its_manifest_true() -> None:
    config = get_fab_config(build_bundle())
    assert config["tool"]["flwr"]["app"]["config"] == {"study": "", "run": ""}
    with zipfile.ZipFile(io.BytesIO(build_bundle())) as archive:
        lines = archive.read(".info/CONTENT").decode().split("\n")
        assert {name for name in archive.namelist() if name != ".info/CONTENT"} == {
            line.split(",")[0] for line in lines
        }
        for line in lines:
            name, digest, bits = line.split(",")
            content = archive.read(name)
            assert (hashlib.sha256(content).hexdigest(), len(content) * 8) == (digest, int(bits))


def test_it_holds_no_code_and_names_what_is_installed() -> None:
    with zipfile.ZipFile(io.BytesIO(build_bundle())) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".py")]
        project = tomllib.loads(archive.read("pyproject.toml").decode())
    for place in project["tool"]["flwr"]["app"]["components"].values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))
