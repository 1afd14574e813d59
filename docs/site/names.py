"""The reference of the API, from what `fieldfare.__all__` holds: a page for each public name."""

import enum
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any, Final

import fieldfare

FOLDER: Final = "reference/api"
_SECTION: Final = re.compile(r"^(Args|Attributes|Example|Examples|Note|Raises|Returns|Yields):$")
_ENTRIES: Final = {"Args", "Attributes", "Raises"}
_DOTTED: Final = re.compile(r"\b(?:[A-Za-z_]\w*\.)+([A-Za-z_]\w*)")
_WIDEST: Final = 88  # characters of a signature on one line


def pages(module: ModuleType = fieldfare) -> Iterator[tuple[str, str]]:
    """Yield the index, then each name's page, as path and Markdown; loads every name."""
    names = [name for name in module.__all__ if not name.startswith("__")]
    found = {name: getattr(module, name) for name in names}
    lines = [
        f"- [`{module.__name__}.{name}`]({name}.md): {_first_line(value)}"
        for name, value in found.items()
    ]
    parts = [f"# {module.__name__}", markdown(module.__doc__), "\n".join(lines)]
    if names:
        parts += ["```{toctree}\n:hidden:\n" + "\n".join(names) + "\n```"]
    yield f"{FOLDER}/index.md", "\n\n".join(parts) + "\n"
    for name, value in found.items():
        yield f"{FOLDER}/{name}.md", _renamed(_page(f"{module.__name__}.{name}", value), found)


def _renamed(page: str, found: Mapping[str, object]) -> str:
    """Call classes by their public names, where their own differ."""
    own = {one.__name__: name for name, one in found.items() if inspect.isclass(one)}
    return re.sub(r"\b[A-Z]\w+\b", lambda word: own.get(word[0], word[0]), page)


def _page(name: str, value: object) -> str:
    parts = [f"# {name}", *_signature(name.rpartition(".")[2], value), markdown(_doc(value))]
    if inspect.isclass(value) or isinstance(value, ModuleType):
        for member, one, kind in _members(value):
            head = [f"## {member}", *([kind] if kind else [])]
            parts += [*head, *_signature(member, one), markdown(_doc(one))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _doc(value: object) -> str:
    plain = not (inspect.isclass(value) or callable(value) or isinstance(value, property))
    return "" if plain and not isinstance(value, ModuleType) else inspect.getdoc(value) or ""


def _first_line(value: object) -> str:
    return markdown(_doc(value).partition("\n\n")[0]).replace("\n", " ")


def _signature(name: str, value: Any) -> list[str]:
    """Return a fenced signature; of what cannot be called its value, of a module nothing."""
    if isinstance(value, ModuleType) or (inspect.isclass(value) and issubclass(value, Exception)):
        return []  # nobody makes our errors but we
    if isinstance(value, property):
        return [_fenced(f"{name}{_returned(value.fget, ': ')}")]
    if inspect.isclass(value) and issubclass(value, enum.Enum):
        return [_fenced("\n".join(f"{one.name} = {one.value!r}" for one in value))]
    if not callable(value):
        return [_fenced(f"{name} = {value!r}")]
    terms = [_parameter(one) for one in _marked(inspect.signature(value))]
    back = "" if inspect.isclass(value) else _returned(value, " -> ")
    line = f"{name}({', '.join(terms)}){back}"
    if len(line) > _WIDEST:
        line = f"{name}(\n" + "".join(f"    {term},\n" for term in terms) + f"){back}"
    return [_fenced(line)]


def _returned(value: Any, before: str) -> str:
    annotation = inspect.signature(value).return_annotation
    return "" if annotation is inspect.Signature.empty else before + _type(annotation)


def _marked(signature: inspect.Signature) -> Iterator[inspect.Parameter | str]:
    """Yield parameters without self, and the star that ends those by position."""
    starred = False
    for name, one in signature.parameters.items():
        if one.kind is one.VAR_POSITIONAL:
            starred = True
        if one.kind is one.KEYWORD_ONLY and not starred:
            starred = True
            yield "*"
        if name != "self":
            yield one


def _parameter(one: inspect.Parameter | str) -> str:
    if isinstance(one, str):
        return one
    several = one.kind in {one.VAR_POSITIONAL, one.VAR_KEYWORD}
    stars = ("*" if one.kind is one.VAR_POSITIONAL else "**") if several else ""
    typed = "" if one.annotation is one.empty else f": {_type(one.annotation)}"
    equals = " = " if typed else "="
    default = "" if one.default is one.empty else equals + _default(one.default)
    return f"{stars}{one.name}{typed}{default}"


def _type(annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _DOTTED.sub(r"\1", text)


def _default(value: object) -> str:
    if isinstance(value, enum.Enum):
        return repr(value.value)
    text = repr(value)
    return "..." if " at 0x" in text or text.startswith("<") else text


def _members(kind: type[Any] | ModuleType) -> Iterator[tuple[str, object, str]]:
    """Yield public members that this project's own classes define, in their order.

    A module has the functions that it names in its own `__all__`: its classes have pages.
    """
    if isinstance(kind, ModuleType):
        named = ((name, getattr(kind, name)) for name in getattr(kind, "__all__", ()))
        yield from ((name, one, "") for name, one in named if inspect.isfunction(one))
        return
    seen: set[str] = set()
    declared = {one.name for one in fields(kind)} if is_dataclass(kind) else set()
    for owner in kind.__mro__:
        if owner.__module__.partition(".")[0] != kind.__module__.partition(".")[0]:
            continue
        for name, raw in vars(owner).items():
            if name.startswith("_") or name in seen | declared:
                continue
            seen.add(name)
            if isinstance(raw, classmethod | staticmethod):
                yield name, getattr(kind, name), type(raw).__name__.replace("method", " method")
            elif isinstance(raw, property) or inspect.isfunction(raw):
                yield name, raw, ""


def _fenced(text: str) -> str:
    return f"```python\n{text}\n```"


def markdown(docstring: str | None) -> str:
    """Return a docstring as Markdown: sections as lists, doctests as code, the rest as it is."""
    blocks, section = [], ""
    for block in re.split(r"\n[ \t]*\n", inspect.cleandoc(docstring or "")):
        head, _, rest = block.partition("\n")
        found = _SECTION.match(head.rstrip())
        if found or not block.startswith(" "):
            section = found[1] if found else ""
        if found:
            blocks.append(f"**{section}**")
        if text := inspect.cleandoc(rest if found else block):
            blocks.append(_block(text, section))
    return "\n\n".join(blocks)


def _block(text: str, section: str) -> str:
    if text.startswith(">>>"):
        return f"```pycon\n{text}\n```"
    if section in _ENTRIES:
        entries = re.split(r"\n(?=\S)", text)
        halves = (" ".join(entry.split()).partition(": ") for entry in entries)
        return "\n\n".join(f"`{name}`\n: {said or '-'}" for name, _, said in halves)
    return text
