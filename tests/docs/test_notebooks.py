"""Notebooks are Python files in cells; a page and an `.ipynb` are made of them."""

import json

import pytest
from docs.site.notebooks import Cell, as_notebook, as_page, cells, executed
from docs.site.staging import FIRST, NOTEBOOKS, generated

SOURCE = """# %% [markdown]
# # Title
# What it *does*.
#
# - one

# %%
x = 1

# %% [markdown]
# ## Then

# %%
x
"""


def test_cells_are_prose_and_code_in_order() -> None:
    title, code, then, last = cells(SOURCE)
    assert title == Cell(prose=True, text="# Title\nWhat it *does*.\n\n- one")
    assert (code, then.text, last) == (Cell(prose=False, text="x = 1"), "## Then", Cell(False, "x"))


@pytest.mark.parametrize(
    ("source", "said"),
    [("x = 1\n" + SOURCE, "on the first line"), (SOURCE + "# %% [markdown]\nx\n", "behind `#`")],
)
def test_what_is_no_notebook_is_refused(source: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cells(source)


def test_a_page_has_title_files_prose_and_code() -> None:
    page = as_page(SOURCE, "one")
    assert page.startswith("# Title\n\n")
    assert "](one.ipynb)" in page
    assert "```python\nx = 1\n```" in page
    assert page.index("one.py") < page.index("What it *does*.") < page.index("## Then")


def test_a_notebook_has_no_outputs_and_says_the_same() -> None:
    found = json.loads(as_notebook(SOURCE))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    kinds = ["markdown", "code", "markdown", "code"]
    assert [one["cell_type"] for one in found["cells"]] == kinds
    assert ["".join(one["source"]) for one in found["cells"]] == [c.text for c in cells(SOURCE)]
    assert [one["outputs"] for one in found["cells"] if one["cell_type"] == "code"] == [[], []]
    assert len({one["id"] for one in found["cells"]}) == len(kinds)


SHOWS = """# %%
print("said")
class Shown:
    def _repr_html_(self): return "<b>1</b>"
Shown()
"""


def test_a_run_shows_what_each_cell_printed_and_its_last_value() -> None:
    source = SOURCE + SHOWS
    *_, (_, value), (_, both) = executed(source, "one")
    assert value == ["````text\n1\n````"]
    assert both == ["````text\nsaid\n````", "````{raw} html\n<b>1</b>\n````"]
    assert "````text\n1\n````" in as_page(source, "one", run=True)
    assert "````" not in as_page(source, "one")


def test_a_notebook_whose_cell_fails_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        list(executed(SOURCE + "# %%\n1 / 0\n", "one"))


def test_the_first_page_has_the_ten_lines_of_the_first_notebook() -> None:
    name, page = next(generated())
    code = next(one.text for one in cells((NOTEBOOKS / FIRST).read_text()) if not one.prose)
    assert name == "index.md"
    assert f"```python\n{code}\n```" in page
