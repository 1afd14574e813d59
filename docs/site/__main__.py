"""`python -m docs.site OUT [--run]`: build the site into OUT, offline, and refuse a broken one.

With `--run` notebooks are run, and their pages show what they showed: some minutes.
"""

import os
import shutil
import sys
from pathlib import Path

from docs.site.checked import problems
from docs.site.staging import stage
from sphinx.cmd.build import build_main

SETTINGS = Path(__file__).parent


def build(out: Path, *, run: bool = False) -> list[str]:
    """Build the site; return what is wrong with it, one line each.

    `OUT/site` has the pages and nothing else; where it is no site, nothing is done. A warning of
    Sphinx is an error.
    """
    sources, site = out / "site-sources", out / "site"
    if site.exists() and not (site / "index.html").is_file():  # `docs` has another: this code
        return [f"{site}: expected a site that was built, or nothing, found something else"]
    stage(sources, run=run)
    shutil.rmtree(site, ignore_errors=True)
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    doctrees = out / "site-doctrees"
    shutil.rmtree(doctrees, ignore_errors=True)
    options = ["-j", "auto", "-q", "-W", "--keep-going", "-b", "html", "-c", str(SETTINGS)]
    if build_main([*options, "-d", str(doctrees), str(sources), str(site)]):
        return ["sphinx: expected no warning, found those above"]
    (site / ".buildinfo").unlink(missing_ok=True)
    return problems(site.resolve())


def main() -> int:
    """Build into the folder that the command names; 1 where anything is wrong."""
    folder, *more = sys.argv[1:] or [""]
    if not folder or more not in ([], ["--run"]):
        sys.stderr.write("expected a folder: python -m docs.site OUT [--run]\n")
        return 2
    out = Path(folder)
    found = build(out, run=bool(more))
    sys.stderr.writelines(f"{line}\n" for line in found)
    if not found:
        sys.stdout.write(f"The site is in {out / 'site'}: open index.html, no server is needed.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
