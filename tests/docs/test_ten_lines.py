"""The Python lines of README run as they stand, with what `make demo` installs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
BLOCK: Final = re.compile(r"^    import fieldfare\n(?:(?:    .*)?\n)*?(?=\S)", re.MULTILINE)
# The lab brings pandas; `make demo` does not.
WITHOUT: Final = """
import sys

class WithoutPandas:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, WithoutPandas())
"""
LAST: Final = "\nprint(len(found.predict(frame)) == len(frame))\n"


def lines_of_readme() -> str:
    [first, *_] = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    return re.sub("^    ", "", first, flags=re.MULTILINE)


def test_the_lines_run_without_pandas_and_write_what_they_say(tmp_path: Path) -> None:
    """Fewer people, so that it takes seconds; nothing else is changed."""
    code = lines_of_readme()
    assert code.count("world(6000,") == 1
    code = WITHOUT + code.replace("world(6000,", "world(1500,") + LAST
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "together, through Fieldfare" in done.stdout
    assert done.stdout.splitlines()[-1] == "True"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["comparison.svg", "report.html"]
