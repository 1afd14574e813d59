"""`make mutants`: put in bugs that would break a promise, and see the tests catch each.

    python -m tests.mutants [--only TEXT] [--jobs 2]

The bugs stand in tests/mutants.toml. Each is put into a copy of the tree, the tests that it names
run there, and one of them has to fail. A bug whose text no longer stands exactly once in its file,
that does not compile, or whose tests fail without it, counts as not caught. Ends with 1 unless
all are caught.
"""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import venv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
TABLE: Final = Path(__file__).with_suffix(".toml")
PARTS: Final = ("shared", "client", "server", "simulations")
SECONDS: Final = 900  # of the tests of one mutant
ALL_SECONDS: Final = 3600  # of all of them without a mutant, beside whatever else runs
PASSED, FAILED = 0, 1  # pytest's exit codes; others are no verdict of a test


class NoMutantError(ValueError):
    """The table does not fit the tree: the mutant cannot be put in."""


@dataclass(frozen=True)
class Mutant:
    """One bug.

    Attributes:
        bug: what it breaks, in a line.
        file: that it is put into, from the root of the tree.
        old: text that stands there exactly once.
        instead: what the bug makes of it.
        tests: files or tests, one of which has to fail.
    """

    bug: str
    file: str
    old: str
    instead: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """Return the file's text with the bug in it.

        Raises:
            NoMutantError: not exactly once, nothing changed, or it does not compile.
        """
        count = text.count(self.old)
        if count != 1:
            raise NoMutantError(f"{self.file}: expected its text once, found it {count} times")
        changed = text.replace(self.old, self.instead)
        if changed == text:
            raise NoMutantError(f"{self.file}: expected a change, found none")
        try:
            if self.file.endswith(".toml"):
                tomllib.loads(changed)
            else:
                compile(changed, self.file, "exec")
        except (SyntaxError, tomllib.TOMLDecodeError) as error:
            raise NoMutantError(f"{self.file}: expected Python or TOML, found {error}") from None
        return changed


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant: `why` names the first test that failed, or what is wrong."""

    mutant: Mutant
    caught: bool
    why: str
    seconds: float


def mutants(table: Path = TABLE) -> tuple[Mutant, ...]:
    """Read the table."""
    rows = tomllib.loads(table.read_text(encoding="utf-8"))["mutant"]
    found = tuple(Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows)
    names = [mutant.bug for mutant in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise NoMutantError(f"expected each bug once, found twice: {', '.join(twice)}")
    return found


@dataclass(frozen=True)
class Tree:
    """A copy of the tree whose code, and no other, is `fieldfare` to the tests that run there.

    To the processes that they start as well: a worker that is told to heed no variable (`-I`) took
    what is installed, and a bug in it was seen by no test.

    Attributes:
        folder: the copy.
        python: the interpreter of an environment with the copy before all that is installed.
    """

    folder: Path
    python: Path

    @classmethod
    def copy(cls, folder: Path, root: Path = ROOT) -> "Tree":
        """Copy what git knows and what is new and not ignored."""
        listed = subprocess.run(
            ["git", "ls-files", "-coz", "--exclude-standard"],
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (root / name).is_file():
                (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / "tree" / name)
        return cls.linked(folder / "tree", folder)

    @classmethod
    def linked(cls, tree: Path, folder: Path) -> "Tree":
        """Let what stands in `tree` be the package, whatever is installed."""
        package = folder / "path" / "fieldfare"
        package.mkdir(parents=True)
        for one in (tree / "api").iterdir():
            (package / one.name).symlink_to(one)
        for part in PARTS:
            (package / part).symlink_to(tree / part)
        environment = folder / "environment"
        venv.create(environment, symlinks=True)
        (installed,) = environment.glob("lib/python*/site-packages")
        found = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        # A file that is put back within a second would be taken for its mutant's bytecode.
        bare = "import sys; sys.dont_write_bytecode = True"
        (installed / "tree.pth").write_text("\n".join([bare, str(package.parent), *found, ""]))
        for script in Path(sys.executable).parent.iterdir():
            if not (environment / "bin" / script.name).exists():
                (environment / "bin" / script.name).symlink_to(script)
        return cls(tree, environment / "bin" / "python")

    def pytest(self, tests: Sequence[str], seconds: int = ALL_SECONDS) -> tuple[int, str]:
        """Run tests until one fails; returns pytest's exit code and what it printed."""
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
        }
        flags = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", "--tb=no")
        done = subprocess.run(
            [self.python, "-m", "pytest", *flags, *tests],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def judge(self, mutant: Mutant) -> Verdict:
        """Put the bug in, run its tests, take it out."""
        started, file = time.monotonic(), self.folder / mutant.file
        try:
            text = file.read_text(encoding="utf-8")
            file.write_text(mutant.applied(text), encoding="utf-8")
            try:
                code, said = self.pytest(mutant.tests, SECONDS)
            finally:
                file.write_text(text, encoding="utf-8")
            caught, why = judged(code, said)
        except (NoMutantError, OSError) as error:
            caught, why = False, str(error)
        except subprocess.TimeoutExpired:
            caught, why = False, f"expected an end within {SECONDS} s, found none"
        return Verdict(mutant, caught, why, time.monotonic() - started)


def judged(code: int, said: str) -> tuple[bool, str]:
    """Return whether a test failed, and which one: an error in collecting is no verdict."""
    lines = said.strip().splitlines() or [""]
    failed = [line.removeprefix("FAILED ") for line in lines if line.startswith("FAILED ")]
    if code == FAILED and failed:
        return True, failed[0].partition(" - ")[0]
    if code == PASSED:
        return False, "all of its tests pass"
    return False, f"expected a test that fails, found pytest's code {code}: {lines[-1]}"


def judge_all(chosen: Sequence[Mutant], jobs: int, folder: Path) -> Iterator[Verdict]:
    """Judge mutants in as many copies of the tree as there are jobs.

    Raises:
        NoMutantError: the tests do not pass without a mutant.
    """
    trees = [Tree.copy(folder / f"copy-{index}") for index in range(jobs)]
    free: Queue[Tree] = Queue()
    for tree in trees:
        free.put(tree)

    def judge(mutant: Mutant) -> Verdict:
        tree = free.get()
        try:
            return tree.judge(mutant)
        finally:
            free.put(tree)

    needed = sorted({test for mutant in chosen for test in mutant.tests})
    with ThreadPoolExecutor(jobs) as pool:
        parts = [needed[index::jobs] for index in range(min(jobs, len(needed)))]
        for code, said in pool.map(Tree.pytest, trees, parts):
            if code != PASSED:
                why = judged(code, said)[1]
                raise NoMutantError(f"expected tests that pass without a mutant, found: {why}")
        yield from pool.map(judge, chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print a line for each, and return 1 unless all are caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose bug or file holds this text")
    parser.add_argument("--jobs", type=int, default=2, help="copies that work at a time (2)")
    options = parser.parse_args(arguments)
    chosen = [m for m in mutants() if options.only in m.bug or options.only in m.file]
    if not chosen:
        parser.error(f"--only: expected text of a mutant, found {options.only!r} in none")
    started, caught = time.monotonic(), 0
    with TemporaryDirectory(prefix="fieldfare-mutants-") as folder:
        try:
            for verdict in judge_all(chosen, max(1, options.jobs), Path(folder)):
                caught += verdict.caught
                word = "caught" if verdict.caught else "NOT CAUGHT"
                print(f"{word:<10} {verdict.mutant.bug} ({verdict.seconds:.0f} s)")  # noqa: T201
                print(f"           {verdict.why}", flush=True)  # noqa: T201
        except NoMutantError as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
    print(f"{caught} of {len(chosen)} caught in {time.monotonic() - started:.0f} s")  # noqa: T201
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main())
