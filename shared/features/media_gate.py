"""Nothing that looks like a picture, a recording, a story or a person's name gets in.

docs/design.md, "The harm rules", rule 6: no images, no ad text, no case narratives, no face
templates; only vectors that the institution's own tools made. The gate looks at names and at forms,
never at what something means, and says what it found without showing it. It is a fence against
mistakes and short cuts, not proof: an attacker who controls an institution's own tool can encode
anything in floats. Vectors quantised to a few levels are refused because that is what pixels look
like.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError

MAX_TEXT: Final = 256  # characters of one value; codes and keys have at most 64
MAX_WORDS: Final = 8  # in one value: more is a sentence
LEAST_BLOB: Final = 16  # bytes that base64 or hex must decode to before its start says anything
LONG_BLOB: Final = 96  # characters of unbroken base64: longer than any hash of ours
BYTE_LIST: Final = 16  # whole numbers of 0 to 255 in a row
FEW_LEVELS: Final = 64  # values before the number of different ones says anything
MAX_SIZE: Final = 1e6  # of one vector's entry
MAX_DEPTH: Final = 8  # of lists and mappings within each other
LONG_WORD: Final = 64  # characters of one word: longer ones are links, or no language's
MIXED_CHARACTERS: Final = 10  # different ones in such a word
WRAPPED_LINE: Final = 16
PROSE_START: Final = 64  # characters that are decoded to see what they begin like
SHORTEST_START: Final = 8  # characters: no medium is shorter
SHORTEST_BLOB: Final = 22  # characters: LEAST_BLOB bytes in base64
BROKEN_SHARE: Final = 8  # one in so many characters that nobody could decode
_BYTE: Final = 255

_LISTED: Final = (
    "photo photos photograph image images img picture pictures pic pics selfie "
    "face faces facial faceprint headshot portrait thumbnail avatar video videos clip "
    "audio voice recording screenshot fingerprint iris biometric biometrics mugshot jpeg jpg "
    "png gif webp bmp tiff heic mp4 name names firstname lastname "
    "surname forename fullname nickname alias maiden patronymic narrative story statement "
    "transcript testimony passport body html "
)
_WORDS: Final = frozenset(_LISTED.split())
_JOINED: Final = (
    "firstname", "lastname", "fullname", "givenname", "familyname", "middlename", "adtext",
    "casenotes", "freetext", "imagedata", "photourl", "imageurl", "birthname",
)  # fmt: skip
_NAMES_OF_THINGS: Final = frozenset(
    ["file_name", "filename", "column_name", "study_name", "merchant_category_name"]
)
# The first bytes of media: https://www.iana.org/assignments/media-types, and the formats' own.
_STARTS: Final = (
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"\x1aE\xdf\xa3", "Matroska or WebM video"),
    (b"OggS", "Ogg"),
    (b"ID3\x02", "MP3"),
    (b"ID3\x03", "MP3"),
    (b"ID3\x04", "MP3"),
    (b"\xff\xfb", "MP3 frames"),
    (b"fLaC", "FLAC"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\x01\xba", "MPEG video"),
    (b"\0\0\x01\xb3", "MPEG video"),
    (b"\0\0\x01\0", "icon"),
    (b"8BPS", "Photoshop"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP or office document"),
    (b"\x1f\x8b", "gzip"),
    (b"<svg", "SVG"),
)
_SHORT_STARTS: Final = frozenset(
    {"BMP", "MP3 frames", "JPEG XL", "gzip"}
)  # two bytes happen by chance
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_HEX: Final = re.compile(r"(?:0x|\\x)?((?:[0-9a-fA-F]{2}[\s:,]?)+)")
# Possessive throughout: on a text that does not fit, nothing is tried twice (CWE-1333).
_BYTE_TEXT: Final = re.compile(
    r"[\[({]?\s*+\d{1,3}+(?:(?=[,;\s])\s*+[,;]?\s*+\d{1,3}+){15,}+\s*+[,;]?\s*+[\])}]?"
)
_BYTE_RUN: Final = re.compile(r"(?<![\d.])\d{1,3}+(?:[,;\s]++\d{1,3}+){31,}(?![\d.])")
_NUMBER: Final = re.compile(r"(?<![\[(,;\s])[\[(,;\s]++-?\d*+\.\d++(?:[eE][+-]?\d++)?")
NUMBER_RUN: Final = 64  # numbers with a point, one after another
_PICTURE: Final = re.compile(r"<(svg|img|video|audio|canvas|html)[\s>/]", re.IGNORECASE)
_DATA_URI: Final = re.compile(r"data:[a-z]+/[a-z0-9.+-]+[;,]", re.IGNORECASE)
_DISGUISES: Final = (
    (_DATA_URI, "found a data URI"),
    (_PICTURE, "found markup of a picture or page"),
    (re.compile("\0"), "found bytes that are no text"),
    (_BYTE_RUN, "found a list of numbers, as pixels are written"),
)
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def name_problem(name: str) -> str:
    """Return why a column or key of this name is refused; empty where it is not."""
    parts = [part for part in re.split(r"[^a-z0-9]+", _CAPITAL.sub("_", name).lower()) if part]
    joined = "".join(parts)
    plain = "_".join(parts)
    if plain in _NAMES_OF_THINGS:
        return ""
    if _WORDS & {*parts, joined} or any(word in joined for word in _JOINED):
        return "found a key that is named like a picture, a recording, a story or a person's name"
    return ""


def magic_of(start: bytes) -> str:
    """Return the kind of medium that bytes begin like; empty for none."""
    # Four bytes: a keyed hash that begins with three by chance is no picture.
    if start[:3] == b"\xff\xd8\xff" and start[3:4] >= b"\xc0":
        return "JPEG"
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    if start[:4] == b"RIFF" and start[8:12] in {b"WEBP", b"AVI ", b"WAVE"}:
        return {b"WEBP": "WebP", b"AVI ": "AVI video", b"WAVE": "WAVE"}[start[8:12]]
    if start[4:8] == b"ftyp":
        return "MP4, HEIC or AVIF"
    return ""


def text_problem(text: str) -> str:
    """Return why one text value is refused; empty where it may pass."""
    bare = text.strip()
    if re.match(r"(?i)[\"'<(\[\s]*(url\(\s*)?data:[^,]{0,200},", bare):
        return "found a data URI"
    if re.search(r"(?i)<(svg|img|video|html)[\s>/]", bare):
        return "found markup of a picture or page"
    for problem in (_encoded_problem(bare), _listed_problem(bare)):
        if problem:
            return problem
    if len(bare) > MAX_TEXT or len(bare.split()) > MAX_WORDS:
        return "found free text"
    return ""


def prose_problem(text: str) -> str:
    """Return why a text that is to be hashed is refused; empty for anything that people write.

    Sentences may pass here, unlike in `text_problem`: only media in disguise may not.
    """
    for form, problem in _DISGUISES:
        if form.search(text):
            return problem
    if has_number_run(text):
        return "found a list of numbers, as pixels are written"
    if text.count("\ufffd") * BROKEN_SHARE > len(text):
        return "found bytes that are no text"
    words = text.split()
    long = [word for word in words if len(word) >= SHORTEST_BLOB]
    kinds = (_start_of(part) for part in (text.strip(), "".join(words), *long))
    kind = next(filter(None, kinds), "")
    if kind:
        return f"found bytes that begin like {kind}"
    blobs = any(map(_is_blob, long)) or _is_wrapped(words)
    return "found a long run of encoded bytes" if blobs else ""


def has_number_run(text: str) -> bool:
    """Tell whether numbers with a point follow one another, as a list is written, in one pass."""
    run, end = 0, -1
    for number in _NUMBER.finditer(text):
        run = run + 1 if number.start() == end else 1
        end = number.end()
        if run == NUMBER_RUN:
            return True
    return False


def _start_of(text: str) -> str:
    """Return which medium a text is or encodes from its first character on; empty for none."""
    kind = magic_of(text[:16].encode("latin-1", "replace"))
    if kind and kind not in _SHORT_STARTS:
        return kind
    start = text[:PROSE_START]
    for decoded in (_unhexed(start), _unbased(start)):
        kind = magic_of(decoded)
        if len(decoded) >= LEAST_BLOB and kind and kind not in _SHORT_STARTS:
            return kind
    return ""


def _is_blob(word: str) -> bool:
    """Tell whether one unbroken word is encoded bytes: long, mixed, with nothing of a language."""
    if len(word) <= LONG_WORD or not _BASE64.fullmatch(word):
        return False
    classes = (str.isupper, str.islower, str.isdigit)
    mixed = sum(any(map(kind, word)) for kind in classes)
    return mixed > 1 and len(set(word)) >= MIXED_CHARACTERS


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Tell whether a text is lines of encoded bytes of one length, as in mail."""
    return (
        len(lines) > 1
        and len(lines[0]) >= WRAPPED_LINE
        and len({len(line) for line in lines[:-1]}) == 1
        and _is_blob("".join(lines))
    )


def _encoded_problem(text: str) -> str:
    kind = magic_of(text[:16].encode("latin-1", "replace"))
    if kind and kind not in _SHORT_STARTS:
        return f"found bytes that begin like {kind}"
    packed = re.sub(r"\s+", "", text)
    for decoded in (_unhexed(text), _unbased(packed)):
        kind = magic_of(decoded)
        if len(decoded) >= LEAST_BLOB and kind and kind not in _SHORT_STARTS:
            return f"found encoded bytes that begin like {kind}"
    if len(packed) > LONG_BLOB and _BASE64.fullmatch(packed):
        return "found a long run of encoded bytes"
    return ""


def _unhexed(text: str) -> bytes:
    found = _HEX.fullmatch(text.replace("\\x", ""))
    return bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", found[1])) if found else b""


def _unbased(text: str) -> bytes:
    for scheme in ("base64,", "b64:", "base64:"):
        text = text.removeprefix(scheme)
    if not _BASE64.fullmatch(text):
        return b""
    whole = text.rstrip("=").replace("-", "+").replace("_", "/")
    whole = whole[: len(whole) // 4 * 4]
    try:
        return base64.b64decode(whole, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _listed_problem(text: str) -> str:
    if _BYTE_TEXT.fullmatch(text):
        return "found a list of bytes written as text"
    if text[:1] in {"[", "{"}:
        try:
            return value_problem(json.loads(text))
        except (ValueError, RecursionError):
            return ""
    return ""


def value_problem(value: object, depth: int = 0) -> str:
    """Return why a value, however nested, is refused; empty where it may pass."""
    if depth > MAX_DEPTH:
        return "found lists within lists without end"
    if isinstance(value, bytes | bytearray | memoryview):
        kind = magic_of(bytes(value[:16]))
        return f"found bytes that begin like {kind}" if kind else "found bytes"
    if isinstance(value, str):
        return text_problem(value)
    if isinstance(value, Mapping):
        return _mapping_problem(value, depth)
    listed = getattr(value, "tolist", None)  # an array of numpy's, or of another library
    if listed is not None:
        value = listed()
    if isinstance(value, Sequence):
        return _sequence_problem(value, depth)
    return ""


def _mapping_problem(value: Mapping[object, object], depth: int) -> str:
    for key, inner in value.items():
        problem = name_problem(str(key)) or value_problem(inner, depth + 1)
        if problem:
            return problem
    return ""


def _sequence_problem(value: Sequence[object], depth: int) -> str:
    if any(_listlike(inner) for inner in value):
        if depth > 0 or all(_listlike(inner) for inner in value):
            return "found lists of lists, as pixels are written"
        return next(filter(None, (value_problem(inner, depth + 1) for inner in value)), "")
    if all(isinstance(inner, Real) for inner in value):
        return pixels_problem([float(inner) for inner in value if isinstance(inner, Real)])
    return next(filter(None, (value_problem(inner, depth + 1) for inner in value)), "")


def _listlike(value: object) -> bool:
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return listed or hasattr(value, "tolist")


def pixels_problem(values: Sequence[float]) -> str:
    """Return why a flat list of numbers is taken for bytes or pixels; empty where it is not."""
    if len(values) < BYTE_LIST:
        return ""
    if all(value.is_integer() and -_BYTE <= value <= _BYTE for value in values):
        return "found a list of bytes"
    if all((value * _BYTE).is_integer() or _nearly(value * _BYTE) for value in values):
        return "found a list of scaled bytes, as pixels are"
    present = [value for value in values if value != 0]
    if len(values) >= FEW_LEVELS and len(set(present)) * 2 < len(present):
        return "found a list of few different levels, as pixels are"
    return ""


def media_in(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the place and the problem of each text in mappings and lists that holds media.

    Args:
        value: texts, numbers, and mappings and lists of them.
        path: of `value`, with dots.
    """
    if isinstance(value, str):
        problem = prose_problem(value) if len(value) >= SHORTEST_START else ""
        if problem:
            yield path, problem
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from media_in(inner, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from media_in(inner, f"{path}.{index}")


def pixel_rows(values: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Return bool (units,) by problem: the findings of `pixels_problem` on many vectors at once.

    Args:
        values: float64 (units, entries), finite; at least 16 entries.
    """
    scaled = values * _BYTE
    whole = (values == np.rint(values)) & (np.abs(values) <= _BYTE)
    near = np.abs(scaled - np.rint(scaled)) < 1e-4 * np.maximum(1.0, np.abs(scaled) / _BYTE)
    present = np.count_nonzero(values, axis=1)
    ordered = np.sort(values, axis=1)
    different = 1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1) - (values == 0).any(axis=1)
    bytes_found = whole.all(axis=1) & (present > 0)
    scaled_found = near.all(axis=1) & (present > 0) & ~bytes_found
    few = (different * 2 < present) & ~bytes_found & ~scaled_found
    few &= values.shape[1] >= FEW_LEVELS
    return {
        "found a list of bytes": bytes_found,
        "found a list of scaled bytes, as pixels are": scaled_found,
        "found a list of few different levels, as pixels are": few,
    }


def _nearly(value: float) -> bool:
    return math.isfinite(value) and abs(value - round(value)) < 1e-4 * max(1.0, abs(value) / _BYTE)


def refuse_names(names: Iterable[str], where: str) -> None:
    """Refuse columns or keys that are named like pictures, stories or people's names.

    Raises:
        RecordsError: one is. The name itself is a schema's, not a record's, and is shown.
    """
    for name in names:
        problem = name_problem(name)
        if problem:
            raise RecordsError(f"{where}: {problem} ({name[:40]!r}); leave it out (harm rule 6)")
