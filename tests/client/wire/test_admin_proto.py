"""The generated code is what `client/wire/admin.proto` generates, and no call of it decides."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.wire import admin_pb2

ROOT: Final = Path(__file__).parents[3]
PROTO: Final = "fieldfare/client/wire/admin.proto"
SOURCES: Final = ".typing"  # where the parts stand under their import root
# A compiler of another patch version writes itself down; nothing else may differ.
VERSION: Final = re.compile(r"^# Protobuf Python Version: .*$|^    \d+,$", re.MULTILINE)


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}"]
    subprocess.run(
        [*command, f"--python_out={out}", f"--pyi_out={out}", PROTO], check=True, cwd=ROOT
    )
    return out / "fieldfare" / "client" / "wire"


@pytest.mark.parametrize("name", ["admin_pb2.py", "admin_pb2.pyi"])
def test_the_generated_code_is_up_to_date(name: str, regenerated: Path) -> None:
    fresh, kept = (
        (folder / name).read_text() for folder in (regenerated, ROOT / "client" / "wire")
    )
    assert VERSION.sub("", kept) == VERSION.sub("", fresh), (
        f"run: python -m grpc_tools.protoc -I{SOURCES} --python_out={SOURCES} "
        f"--pyi_out={SOURCES} {PROTO}"
    )


def test_administration_has_these_calls_and_no_other() -> None:
    (service,) = admin_pb2.DESCRIPTOR.services_by_name.values()
    assert service.full_name == "fieldfare.admin.v1.Administration"
    assert [method.name for method in service.methods] == ["Status", "Follow"]


def test_nothing_can_be_told_to_it_but_to_look() -> None:
    for name, message in admin_pb2.DESCRIPTOR.message_types_by_name.items():
        if name.endswith("Request"):
            assert not list(message.fields), name
