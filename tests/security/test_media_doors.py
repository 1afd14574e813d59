"""Disguised pictures, recordings and pixels: importer, custodian and study check all refuse them.

Harm rule 6. Thirty payloads, each tried at every door that takes what it is written as.
"""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomlkit
from tests.support.homes.institutions import NAMES, Coordinator
from tests.support.records.imports import SAMPLES, imported
from tests.support.rows import one_of_each

from fieldfare.client.institution.open import records_loader
from fieldfare.client.records import read_records
from fieldfare.client.records.encoding.problems import Effect
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.features import MAX_VALUE
from fieldfare.shared.study.study import Study

RANDOM: Final = np.random.default_rng(11)
TAIL: Final = RANDOM.bytes(90)
HEADS: Final = {
    "jpeg": bytes.fromhex("ffd8ffe000104a46494600010101"),
    "exif": bytes.fromhex("ffd8ffe1001845786966000049492a00"),
    "png": bytes.fromhex("89504e470d0a1a0a0000000d49484452"),
    "gif": b"GIF89a\x10\x00\x10\x00",
    "webp": b"RIFF\x24\x10\x00\x00WEBPVP8 ",
    "mp4": b"\0\0\0\x20ftypisom\0\0\2\0",
    "heic": b"\0\0\0\x18ftypheic\0\0\0\0",
    "webm": b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x23",
    "avi": b"RIFF\x24\x10\x00\x00AVI LIST",
    "tiff": b"II*\0\x08\0\0\0",
}
GREY: Final = RANDOM.integers(0, 256, 64)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


TEXTS: Final[dict[str, str]] = {
    **{f"{name} in base64": b64(head + TAIL) for name, head in HEADS.items()},
    **{f"{name} in hex": (HEADS[name] + TAIL).hex() for name in ("jpeg", "png", "gif", "mp4")},
    "png as text": (HEADS["png"] + TAIL).decode("latin-1"),
    "gif as text": (HEADS["gif"] + TAIL).decode("latin-1"),
    "png as a data URI": "data:image/png;base64," + b64(HEADS["png"] + TAIL),
    "video as a data URI": "data:video/mp4;base64," + b64(HEADS["mp4"] + TAIL),
    "picture amid words": f"seen here: {b64(HEADS['jpeg'] + TAIL)} at noon",
    "base64 in lines": "\n".join(b64(RANDOM.bytes(228))[i : i + 76] for i in range(0, 304, 76)),
    "base64 of anything": b64(RANDOM.bytes(150)),
    "markup": '<img src="x.png" alt="a person">',
    "svg": "<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>",
    "bytes in words": " ".join(map(str, GREY)),
    "bytes as JSON": str(GREY.tolist()),
}
LISTS: Final[dict[str, list[float]]] = {
    "bytes": GREY.astype(float).tolist(),
    "scaled bytes": (GREY / 255).tolist(),
    "signed bytes": (GREY - 128.0).tolist(),
    "four levels": RANDOM.choice([0.13, 0.37, 0.61, 0.89], 64).tolist(),
    "few levels": RANDOM.choice(RANDOM.normal(size=20), 64).tolist(),
}


def study_of(kind: str) -> Study:
    size = {"entries": 64} if kind == "vector" else {"buckets": 64}
    return Study.model_validate(
        {
            "name": "small",
            "purpose": "tests",
            "records": {"unit": "case", "label": "flag", "units": 600, "prevalence": 0.1},
            "model": {"kind": kind, "column": "content", **size},
            "privacy": {"epsilon": 0.5, "delta": 1e-6},
        }
    )


def written(folder: Path, payload: object, kind: pa.DataType) -> Path:
    path = folder / "records.parquet"
    table = {"case": ["a", "b"], "flag": [0, 1], "content": pa.array([None, payload], kind)}
    pq.write_table(pa.table(table), path)
    return path


def doors(
    coordinator: Coordinator, folder: Path, payload: object, kind: pa.DataType, study: Study
) -> list[str]:
    """What the importer and a custodian that loads the same records say; neither takes it in."""
    path = written(folder, payload, kind)
    home = coordinator.homes[NAMES[0]]
    coordinator.edit(home.settings, 'path = "records.csv"\n', f'path = "{path}"\n')
    coordinator.edit(home.settings, 'unit = "customer"', f'unit = "{study.records.unit}"')
    records, loaded = (
        read_records([path], study),
        records_loader(coordinator.institution(), {})(study),
    )
    assert records.units.tolist() == ["a"]
    assert (loaded.units, loaded.rows, loaded.zero) == (1, 2, 1)
    return [
        "\n".join(one.text for one in findings if one.effect is Effect.ZERO)
        for findings in (records.findings, loaded.findings)
    ]


def test_there_are_thirty() -> None:
    assert len(TEXTS) + len(LISTS) >= 30


@pytest.mark.parametrize("kind", ["text", "vector"])
def test_records_with_a_medium_written_as_text_count_as_zero(
    coordinator: Coordinator, tmp_path: Path, kind: str
) -> None:
    study, home = study_of(kind), coordinator.homes[NAMES[0]]
    settings = home.settings.read_bytes()
    for name, payload in TEXTS.items():
        for said in doors(coordinator, tmp_path, payload, pa.string(), study):
            assert "harm rule 6" in said, name
            assert "1 row (2)" in said, name
            assert payload[:12] not in said, name
        home.settings.write_bytes(settings)


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_look_like_pixels_count_as_zero(
    coordinator: Coordinator, tmp_path: Path, name: str
) -> None:
    for said in doors(
        coordinator, tmp_path, LISTS[name], pa.list_(pa.float64()), study_of("vector")
    ):
        assert "harm rule 6" in said
        assert "1 row (2)" in said


def check(path: Path, study: dict[str, Any]) -> int:
    path.write_text(tomlkit.dumps(study), encoding="utf-8")
    return run(["study", "check", str(path)])


def test_study_check_refuses_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = {name: str(values) for name, values in LISTS.items()}
    for name, payload in {**TEXTS, **lists}.items():
        study = {
            "name": "small",
            "purpose": "tests",
            "records": {"unit": "case", "label": "flag", "units": 600, "prevalence": 0.1},
            "privacy": {"epsilon": 0.5, "delta": 1e-6},
            "features": [{"kind": "categorical", "name": "x", "levels": ["a", payload.strip()]}],
        }
        assert check(tmp_path / "study.toml", study) == 2, name
        said = capsys.readouterr().err
        expected = "plain words" if len(payload.strip()) <= MAX_VALUE else "at most 256 characters"
        if not payload.strip().isprintable() and len(payload.strip()) <= MAX_VALUE:
            expected = "signs that can be seen"
        assert f"features.0.levels.1: expected {expected}" in said, name
        assert payload[:12] not in said, name


@pytest.mark.parametrize("column", ["photo", "face_vector", "narrative", "imageUrl", "full name"])
def test_a_study_may_not_read_a_column_that_is_named_like_media(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    study = {
        "name": "small",
        "purpose": "tests",
        "records": {"unit": "case", "label": "flag", "units": 600, "prevalence": 0.1},
        "privacy": {"epsilon": 0.5, "delta": 1e-6},
        "model": {"kind": "vector", "column": column, "entries": 64},
    }
    assert check(tmp_path / "study.toml", study) == 2
    assert "model.column: expected a column of vectors" in capsys.readouterr().err


def in_csv(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# Where a file of each form has room for words that an institution or a bank writes.
IMPORTED: Final[dict[str, tuple[str, str, Callable[[str], str]]]] = {
    "paysim": ("paysim.csv", "C3", in_csv),
    "amlworld": ("amlworld.csv", "8000EBD30", in_csv),
    "htcds": ("htcds.csv", "C-1", in_csv),
    "camt053": ("camt053.xml", "Port Alder", escape),
    "pacs008": ("pacs008.xml", "11112222", escape),
}


@pytest.mark.parametrize("form", IMPORTED)
@pytest.mark.parametrize("name", one_of_each(TEXTS, lambda name: name.rpartition(" ")[2]))
def test_importers_of_other_programs_files_refuse_them(
    form: str, name: str, tmp_path: Path
) -> None:
    sample, old, written = IMPORTED[form]
    text = (SAMPLES / sample).read_text()
    assert old in text
    path = tmp_path / sample
    path.write_text(text.replace(old, written(TEXTS[name])))
    with pytest.raises(RecordsError) as caught:
        imported(form, [path], tmp_path / "out", bic="OURBUS33")
    assert TEXTS[name][:16] not in str(caught.value)
    assert list((tmp_path / "out").glob("*")) == []
