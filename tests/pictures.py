"""Pictures of the two consoles for the README: `python -m tests.pictures out/demo`.

The institution's is of the home that `make demo` left (its world has seed 0); the coordinator's is
of three banks that run as processes here. People come in by the links that a terminal shows.
"""

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.support.browsers.looking import Look, chromium
from tests.support.federations.beds import running, small_bed
from tests.support.system.ports import free_port

from fieldfare.client.alerts.entry_keys import keys_beside
from fieldfare.simulations.demo.testbed import in_this_process

OUT: Final = Path(__file__).parents[1] / "docs" / "pictures"
WIDTH: Final = 1280
MOST_BYTES: Final = 150_000  # of a picture
STEPS: Final = 20


@contextmanager
def console(home: Path) -> Iterator[tuple[str, str]]:
    """Serve a console as on a terminal; its address, and the token of the link that it shows."""
    listen = f"127.0.0.1:{free_port()}"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "fieldfare", "console"]
    with subprocess.Popen(
        [*command, "--home", str(home), "--listen", listen], stdin=theirs, stdout=theirs
    ) as process:
        said = ""
        try:
            while "Ctrl-C ends it" not in said:
                said += os.read(ours, 4096).decode()
            found = re.search(r"link=([\w-]{43})", said)
            if found is None:
                raise SystemExit(f"expected somebody who waits for a link at {home}, found nobody")
            yield f"http://{listen}", found[1]
        finally:
            process.terminate()


def take(look: Look, name: str, *, height: int) -> None:
    """Save what the browser shows, in light."""
    look.page.emulate_media(color_scheme="light")
    look.page.set_viewport_size({"width": WIDTH, "height": height})
    look.page.wait_for_load_state()
    path = OUT / f"{name}.png"
    look.page.screenshot(path=path)
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path}: expected at most {MOST_BYTES} bytes, found more")


def institution(demo: Path, folder: Path) -> None:
    """Show an alert of the demo's bank, on a copy of its home."""
    home = folder / "bank-a"
    shutil.copytree(demo / "bank-a", home)
    shutil.copytree(keys_beside(demo / "bank-a"), keys_beside(home))
    with (
        console(home) as (address, token),
        chromium(address, scripts=True, checks=False) as look,
    ):
        look.enrol(token, "anna")
        look.open("/alerts")
        look.page.locator("[data-row] a").first.click()
        look.page.get_by_role("heading", name="Reasons, which add up").wait_for()
        take(look, "institution-alert", height=800)


def coordinator(folder: Path) -> None:
    """Show a run of three banks, as its coordinator sees it."""
    bed = small_bed(folder, steps=STEPS)
    bed.command = in_this_process
    with running(bed):
        run = bed.run(bed.agree())
        bed.until_ended(run)
        bed.expect_people(lead="clara", operator="otto")
        with (
            console(bed.coordinator_home) as (address, token),
            chromium(address, scripts=True, checks=False) as look,
        ):
            look.enrol(token, "clara")
            look.open(f"/runs/{run}")
            look.page.get_by_role("heading", level=1).wait_for()
            take(look, "coordinator-run", height=800)


def main(demo: str = "") -> None:
    """Make both; without a demo's folder the coordinator's alone."""
    OUT.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="ff-") as folder:
        if demo:
            institution(Path(demo), Path(folder))
        coordinator(Path(folder) / "bed")


if __name__ == "__main__":
    main(*sys.argv[1:])
