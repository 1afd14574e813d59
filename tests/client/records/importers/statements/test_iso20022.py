"""Hostile and broken XML is refused with its line; memory does not grow with a file."""

import gzip
from datetime import datetime
from pathlib import Path

import pytest

from fieldfare.client.records.importers.iso20022 import (
    Message,
    XmlElement,
    account_number,
    amount_of,
    country_of,
    kind_of_party,
    moment_of,
    parts_of,
)
from fieldfare.shared.errors import RecordsError

MESSAGE = Message("camt.053.001", (2, 13), "BkToCstmrStmt", 4)
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
HEAD = f'<?xml version="1.0"?>\n<Document xmlns="{NAMESPACE}">\n<BkToCstmrStmt>\n'
TAIL = "</BkToCstmrStmt></Document>"


def statement(inner: str) -> str:
    return f"{HEAD}<Stmt>\n{inner}\n</Stmt>{TAIL}"


def read(tmp_path: Path, text: str | bytes) -> list[tuple[int, str]]:
    path = tmp_path / "one.xml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [(block, name) for block, name, _ in parts_of(path, MESSAGE)]


def node_of(tmp_path: Path, inner: str) -> XmlElement:
    path = tmp_path / "one.xml"
    path.write_text(statement(inner))
    return next(node for _, _, node in parts_of(path, MESSAGE))


def laughs() -> str:
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)
    )
    return f"<!DOCTYPE Document [{entities}]>"


DOCUMENT = statement("<Id>S</Id>").partition("\n")[2]
SECRET = "root:x:0:0"  # noqa: S105 -- what a file outside would show
HOSTILE = {
    "billion laughs": laughs() + DOCUMENT.replace("S<", "&a9;<"),
    "laughs in an attribute": laughs() + DOCUMENT.replace("<Id>", '<Id x="&a9;">'),
    "laughs at the root": laughs() + DOCUMENT.replace("<Document ", '<Document x="&a9;" '),
    "external entity": '<!DOCTYPE Document [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    + DOCUMENT.replace("S<", "&e;<"),
    "parameter entity": '<!DOCTYPE Document [<!ENTITY % e SYSTEM "http://192.0.2.1/e"> %e;]>'
    + DOCUMENT,
    "external document type": '<!DOCTYPE Document SYSTEM "http://192.0.2.1/d.dtd">' + DOCUMENT,
    "a document type alone": "<!DOCTYPE Document>" + DOCUMENT,
    "an undeclared entity": DOCUMENT.replace("S<", "&x;<"),
    "truncated": DOCUMENT[:-20],
    "cut in a tag": DOCUMENT[:-3],
    "empty": "",
    "no XML": "id;amount\n1;2\n",
    "two roots": DOCUMENT + DOCUMENT,
    "another message": DOCUMENT.replace("camt.053", "camt.052"),
    "another version": DOCUMENT.replace("001.08", "001.99"),
    "another variant": DOCUMENT.replace("camt.053.001", "camt.053.002"),
    "no namespace": DOCUMENT.replace(f' xmlns="{NAMESPACE}"', ""),
    "another namespace inside": DOCUMENT.replace("<Stmt>", '<Stmt xmlns="urn:other">'),
    "another body": DOCUMENT.replace("BkToCstmrStmt", "BkToCstmrAcctRpt"),
    "an envelope": f"<Envelope>{DOCUMENT}</Envelope>",
    "too deep": DOCUMENT.replace("S<", "<a>" * 300 + "</a>" * 300 + "<"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_xml_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordsError, match=r"one\.xml, line \d+: ") as caught:
        read(tmp_path, HOSTILE[name])
    assert SECRET not in str(caught.value)
    assert "haha" not in str(caught.value)


def test_a_document_type_in_another_encoding_is_seen(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?>' + HOSTILE["a document type alone"]
    with pytest.raises(RecordsError, match="without a document type"):
        read(tmp_path, text.encode("utf-16"))


def test_nothing_outside_is_read(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(SECRET)
    text = f'<!DOCTYPE Document [<!ENTITY e SYSTEM "{other.as_uri()}">]>{DOCUMENT}'
    with pytest.raises(RecordsError):
        read(tmp_path, text.replace("S<", "&e;<"))
    included = DOCUMENT.replace(
        "S<", f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{other}"/><'
    )
    path = tmp_path / "one.xml"
    path.write_text(included)
    (node,) = [node.element.xpath("string()") for _, _, node in parts_of(path, MESSAGE)]
    assert SECRET not in node


def test_one_part_may_not_be_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.client.records.importers.iso20022.MAX_ELEMENTS", 50)
    assert read(tmp_path, statement("<Ntry>" + "<a/>" * 50 + "</Ntry>")) == [(1, "Ntry")]
    with pytest.raises(RecordsError, match="at most 50 elements"):
        read(tmp_path, statement("<Ntry>" + "<a/>" * 51 + "</Ntry>"))


def test_parts_stream_by_statement_also_compressed(tmp_path: Path) -> None:
    text = statement("<Id>S</Id><Ntry/>").replace("</Stmt>", "</Stmt><Stmt><Ntry/></Stmt>", 1)
    assert read(tmp_path, text) == [(1, "Id"), (1, "Ntry"), (2, "Ntry")]
    packed = tmp_path / "one.xml.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert len(list(parts_of(packed, MESSAGE))) == 3
    packed.write_bytes(gzip.compress(text.encode())[:-30])
    with pytest.raises(RecordsError, match=r"one\.xml\.gz"):
        list(parts_of(packed, MESSAGE))
    with pytest.raises(RecordsError, match="found none"):
        list(parts_of(tmp_path / "none.xml", MESSAGE))


def test_no_more_than_a_block_of_the_file_is_held(tmp_path: Path) -> None:
    """libxml2 reads 32 KiB ahead; everything before the part at hand is gone."""
    path = tmp_path / "long.xml"
    most = []
    for entries in (2_000, 20_000):
        path.write_text(statement("<Ntry><Amt Ccy='EUR'>1</Amt></Ntry>\n" * entries))
        most.append(max(len(node.element.getparent()) for _, _, node in parts_of(path, MESSAGE)))
    assert most[1] <= most[0] + 1 < 1_000


def test_a_line_beyond_what_sixteen_bits_count(tmp_path: Path) -> None:
    node = node_of(tmp_path, "\n" * 70_000 + "<Ntry><Amt>x</Amt></Ntry>")
    with pytest.raises(RecordsError, match="line 70005"):
        amount_of(node, "Amt")


@pytest.mark.parametrize(
    ("text", "utc", "offset"),
    [
        ("2025-03-01", datetime(2025, 3, 1, 12), None),  # noqa: DTZ001
        ("2025-03-01T23:30:00", datetime(2025, 3, 1, 23, 30), None),  # noqa: DTZ001
        ("2025-03-01T23:30:00+01:00", datetime(2025, 3, 1, 22, 30), 60),  # noqa: DTZ001
        ("2025-03-01T23:30:00.5Z", datetime(2025, 3, 1, 23, 30, 0, 500_000), 0),  # noqa: DTZ001
        ("2025-03-01-05:00", datetime(2025, 3, 1, 12), None),  # noqa: DTZ001
    ],
)
def test_moments(tmp_path: Path, text: str, utc: datetime, offset: int | None) -> None:
    node = node_of(tmp_path, f"<Ntry><Dt>{text}</Dt></Ntry>")
    expected = {"ts_utc": utc} | ({} if offset is None else {"tz_offset_min": offset})
    assert moment_of(node, "None", "Dt") == expected


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2025-13-01", "2025-02-30T10:00:00", "01.03.2025", "0001-01-01T00:00:00+14:00",
     "9999-12-31T23:59:59-14:00"],
)  # fmt: skip
def test_other_moments_are_refused(tmp_path: Path, text: str) -> None:
    node = node_of(tmp_path, f"<Ntry><Dt>{text}</Dt></Ntry>")
    with pytest.raises(RecordsError, match="line 5"):
        moment_of(node, "Dt")


@pytest.mark.parametrize(
    "inner",
    ["<Amt>5</Amt>", "<Amt Ccy='eur'>5</Amt>", "<a/>", "<Amt Ccy='EUR'>5,0</Amt>",
     "<Amt Ccy='JPY'>5.5</Amt>"],
)  # fmt: skip
def test_other_amounts_are_refused(tmp_path: Path, inner: str) -> None:
    with pytest.raises(RecordsError, match="line 5"):
        amount_of(node_of(tmp_path, f"<Ntry>{inner}</Ntry>"), "Amt")


def test_parties_are_kinds_and_numbers(tmp_path: Path) -> None:
    node = node_of(
        tmp_path,
        "<Ntry><A><Id><IBAN>DE02120300000000202051</IBAN></Id></A><B><Pty><Id><OrgId/></Id></Pty>"
        "</B><C><Id><PrvtId/></Id></C></Ntry>",
    )
    assert account_number(node.at("A")) == "DE02120300000000202051"
    assert [kind_of_party(node.at(name)) for name in "ABCD"] == [None, "business", "person", None]
    assert country_of(None, "DE02120300000000202051") == "DE"
    assert country_of("AGRIFRPP", "DE02120300000000202051") == "FR"
    assert country_of(None, "000123") is None
