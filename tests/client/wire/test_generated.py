"""The generated code is what `client/wire/frame.proto` generates."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
PROTOS: Final = ("fieldfare/client/wire/frame.proto",)
SOURCES: Final = ".typing"  # where the parts stand under their import root
# A compiler of another patch version writes itself down; nothing else may differ.
VERSION: Final = re.compile(r"^# Protobuf Python Version: .*$|^    \d+,$", re.MULTILINE)


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("generated")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}"]
    subprocess.run(
        [*command, f"--python_out={out}", f"--pyi_out={out}", *PROTOS], check=True, cwd=ROOT
    )
    return out / "fieldfare" / "client" / "wire"


@pytest.mark.parametrize("name", ["frame_pb2.py", "frame_pb2.pyi"])
def test_the_generated_code_is_up_to_date(name: str, regenerated: Path) -> None:
    fresh, kept = (
        (folder / name).read_text() for folder in (regenerated, ROOT / "client" / "wire")
    )
    assert VERSION.sub("", kept) == VERSION.sub("", fresh), (
        f"run: python -m grpc_tools.protoc -I{SOURCES} --python_out={SOURCES} "
        f"--pyi_out={SOURCES} {' '.join(PROTOS)}"
    )
