"""A token of SoftHSM2, for as long as the tests run; a process reads its settings once."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest

PIN: Final = b"4711"
LIBRARY: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
_LABELS: Final = count()


@dataclass(frozen=True)
class Token:
    """A token, and URIs of keys in it that no other test has."""

    label: str
    pin_file: Path

    def uri(self) -> str:
        return f"pkcs11:token={self.label};object=key-{next(_LABELS)}?module-path={LIBRARY}"


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    """A token with a PIN; skips where SoftHSM2 or the extra is not installed."""
    tool = shutil.which("softhsm2-util")
    if tool is None or not LIBRARY.exists():
        pytest.skip("no SoftHSM2: apt-get install softhsm2")
    pytest.importorskip("pkcs11", reason="no python-pkcs11: pip install 'fieldfare[hsm]'")
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    settings = folder / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(settings)
    pin = PIN.decode()
    made = [tool, "--init-token", "--free", "--label", "bank", "--pin", pin, "--so-pin", "0815"]
    subprocess.run(made, check=True, capture_output=True)
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_bytes(PIN + b"\n")
    return Token("bank", pin_file)
