"""Edi: conformance, how interchanges are cut, what is wrong with them, numbers, times and meanings by agreement."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.plugins.edi import ISA, Twig, iftsta_dump, iftsta_load, x12, x12_dump, x12_load
from tests.plugins.edi import iftsta as edifact
from tracker.domain.errors import BadPayload, Refused
from tracker.domain.facts import Code, Parcels, Payload, Report, Unread, fingerprint
from tracker.domain.vocabulary import Reason, ShippingStatus, Zone
from tracker.plugin.conformance import AT, Form, Recorder, example_settings, for_carrier, plugin_of, read_all

FIXTURES = Path(__file__).parents[1] / "fixtures" / "edi"


def _load(body: bytes) -> Any:
    return x12_load(body) if body.startswith(b"ISA") else iftsta_load(body)


def _dump(tree: Twig) -> bytes:
    return x12_dump(tree) if tree["kind"] == "x12" else iftsta_dump(tree)


TestConformance = for_carrier("carriers.edi", fixtures=FIXTURES, form=Form(_load, _dump))


def _source(**more: Any) -> Any:
    plugin = plugin_of("carriers.edi")
    return plugin("account", example_settings(plugin, **more))


def _read(body: bytes, **more: Any) -> tuple[list[Report], list[Unread]]:
    items = read_all(_source(**more), "file", (body,))
    return [i for i in items if isinstance(i, Report)], [i for i in items if isinstance(i, Unread)]


def _scans(*at7: str, head: str = "B10*PRO1*S*RDWY", **more: Any) -> Any:
    (report,), unread = _read(x12([[head, "LX*1", *at7]]), **more)
    assert unread == []
    return report.scans


D1 = "AT7*D1*NS***20261126*1022*CS"
TWO = [["B10*PRO1*S*RDWY", "LX*1", D1], ["B10*PRO2*S*RDWY", "LX*1", D1]]
IFTSTA = [["BGM+23+A+9", "CNI+1+C1", "STS+1+21", "DTM+334:202611261022:203"], ["BGM+23+B+9", "CNI+1+C2", "STS+1+21"]]


# how files are cut


def test_each_message_is_a_payload_with_the_head_of_its_envelope() -> None:
    body = x12(TWO) + edifact(IFTSTA)
    cuts = list(_source().cut(io.BytesIO(body)))

    assert [cut.parts[1][:9] for cut in cuts] == [b"ST*214*00", b"ST*214*00", b"UNH+1+IFT", b"UNH+2+IFT"]
    assert [cut.parts[2] for cut in cuts] == [b""] * 4
    assert cuts[0].parts[0] == ISA.encode() + b"GS*QM*RDWY*SHIPPER*20261126*1200*45*X*004010~"
    assert cuts[2].parts[0].startswith(b"UNA:+.? 'UNB+UNOC:3+")
    assert [r.number for r in _read(body)[0]] == ["PRO1", "PRO2", "C1", "C2"]


def test_a_message_is_never_cut_and_a_huge_interchange_is_held_a_message_at_a_time() -> None:
    class Counted(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            assert 0 < size <= 1 << 16  # never more at once
            return super().read(size)

    body = x12([["B10*PRO1*S*RDWY", "LX*1", D1]] * 3000)
    cuts = list(_source().cut(Counted(body)))

    assert len(body) > 200_000
    assert len(cuts) == 3000
    assert {cut.parts[1].count(b"~") for cut in cuts} == {5}


def test_other_characters_part_elements_and_segments_where_the_head_says_so() -> None:
    odd = x12(TWO).replace(b"*", b"|").replace(b"~\n", b"\x85\n").replace(b"~", b"\x85")
    reports, unread = _read(odd.replace(b"\x85", b"^"))

    assert ([r.number for r in reports], unread) == (["PRO1", "PRO2"], [])
    other = (
        edifact([IFTSTA[0]])
        .replace(b"UNA:+.? '", b"UNA;*.! ~")
        .replace(b"+", b"*")
        .replace(b":", b";")
        .replace(b"'", b"~")
    )
    assert [r.number for r in _read(other)[0]] == ["C1"]


def test_a_released_terminator_ends_no_segment() -> None:
    (report,), unread = _read(edifact([["CNI+1+C1", "STS+1+21:::it?'s here???'so"]]))

    assert (report.scans[0].code.text, unread) == ("it's here?'so", [])


@pytest.mark.parametrize(
    ("broken", "where", "said", "left"),
    [
        (x12(TWO).replace(b"SE*5*0001", b"SE*6*0001"), "$.ST[3].SE", "is wrong. I count 5", ["PRO2"]),
        (x12(TWO).replace(b"SE*5*0002", b"SE*5*0009"), "$.ST[8].SE", "SE id=0009 does not match", ["PRO1"]),
        (x12(TWO).replace(b"GE*2", b"GE*3"), "$.ST[13]", "'GE' counts '3' messages, and 2 came", ["PRO1", "PRO2"]),
        (x12(TWO).replace(b"GE*2*45", b"GE*2*46"), "$.ST[13]", "'GE' has the number '46'", ["PRO1", "PRO2"]),
        (x12(TWO).replace(b"IEA*1*000000123", b"IEA*2*000000123"), "$.ST[14]", "'IEA' counts '2'", ["PRO1", "PRO2"]),
        (
            x12(TWO).replace(b"IEA*1*000000123", b"IEA*1*000000124"),
            "$.ST[14]",
            "'IEA' has the number",
            ["PRO1", "PRO2"],
        ),
        (x12(TWO).split(b"IEA")[0], "$.ST[13]", "the interchange ends without IEA", ["PRO1", "PRO2"]),
        (x12(TWO).split(b"LX*1", 2)[0] + b"LX*1", "$.ST[3]", "the file ends within the segment", []),
        (x12(TWO).split(b"SE*5*0002")[0], "$.ST[8]", "the interchange ends within this message", ["PRO1"]),
        (x12(TWO).replace(b"SE*5*0001~\n", b""), "$.ST[3]", "'ST' comes before its SE", ["PRO2"]),
        (x12(TWO) + b"junk", "$.ST[15]", "what follows the interchange is none", ["PRO1", "PRO2"]),
        (x12(TWO).replace(b"GE*2", b"ZZ*1~GE*2"), "$.ST[13]", "'ZZ' stands outside of a message", ["PRO1", "PRO2"]),
        (edifact(IFTSTA).replace(b"UNT+6+1", b"UNT+7+1"), "$.ST[3].UNT", "counts '7' segments, and 6 came", ["C2"]),
        (edifact(IFTSTA).replace(b"UNT+6+1", b"UNT+6+3"), "$.ST[3].UNT", "has the number '3', and UNH '1'", ["C2"]),
        (edifact(IFTSTA).replace(b"UNZ+2", b"UNZ+3"), "$.ST[14]", "'UNZ' counts '3'", ["C1", "C2"]),
        (
            edifact(IFTSTA).replace(b"UNZ+2+REF42", b"UNZ+2+REF43"),
            "$.ST[14]",
            "'UNZ' has the number 'REF43'",
            ["C1", "C2"],
        ),
        (edifact(IFTSTA).split(b"UNZ")[0], "$.ST[13]", "the interchange ends without UNZ", ["C1", "C2"]),
    ],
)
def test_what_counts_wrong_or_is_cut_off_is_told_and_messages_that_are_whole_are_read(
    broken: bytes, where: str, said: str, left: list[str]
) -> None:
    try:
        reports, unread = _read(broken)
    except BadPayload as error:
        reports, unread = [], [Unread(error.where, error.problem)]

    assert [r.number for r in reports] == left
    assert [one.where for one in unread if said in one.problem] == [where], unread


@pytest.mark.parametrize("body", [b"hello", b"ISA*too short~", b"UNB+UNOC:3'", b"UNA:+.? 'UNH+1'"])
def test_a_file_that_is_no_interchange_is_refused_whole(body: bytes) -> None:
    with pytest.raises(BadPayload):
        list(_source().cut(io.BytesIO(body)))


def test_a_message_of_another_kind_is_told_as_none_of_ours() -> None:
    body = x12([["B10*PRO1*S*RDWY"]]).replace(b"ST*214", b"ST*997") + edifact([["BGM"]]).replace(b"IFTSTA", b"DESADV")
    reports, unread = _read(body)

    assert (reports, [one.lacks for one in unread]) == ([], ["nothing", "nothing"])


def test_an_interchange_that_comes_again_has_the_same_parts_and_scans() -> None:
    first, again = ([cut.parts for cut in _source().cut(io.BytesIO(body))] for body in (x12(TWO), x12(TWO, nl="\r\n")))
    prints = [
        {fingerprint(scan) for r in _read(body)[0] for scan in r.scans} for body in (x12(TWO), x12(TWO, nl="\r\n"))
    ]

    assert first == again
    assert prints[0] == prints[1]


# X12


def test_a_carrier_is_named_by_its_scac_where_the_settings_name_none() -> None:
    body = x12([["B10*PRO1*S*UPSN", "LX*1", D1], ["B10*PRO2*S*QQQQ", "LX*1", D1]])
    reports, unread = _read(body, carrier="")

    assert [(r.carrier, r.number) for r in reports] == [("ups", "PRO1")]
    assert ["names no carrier that we know: 'QQQQ'" in one.problem for one in unread] == [True]


@pytest.mark.parametrize(
    ("refs", "wanted", "numbers"),
    [
        (["L11*T1*2I", "L11*P1*CN"], None, ["T1"]),
        (["L11*P1*CN"], None, ["P1"]),
        (["L11*T1*2I", "L11*P1*CN"], ["CN"], ["P1"]),
        (["MAN*CP*M1", "MAN*CP*M2"], ["MAN"], ["M1", "M2"]),
        ([], None, ["PRO1"]),
    ],
)
def test_the_tracking_number_is_the_first_of_the_partners_choice_and_several_packages_are_several_scans(
    refs: list[str], wanted: list[str] | None, numbers: list[str]
) -> None:
    more = {"x12_numbers": wanted} if wanted else {}
    reports, unread = _read(x12([["B10*PRO1*S*RDWY", "LX*1", D1, *refs]]), **more)

    assert ([r.number for r in reports], unread) == (numbers, [])


def test_a_scan_of_no_parcel_that_is_named_is_told() -> None:
    with pytest.raises(BadPayload, match="of no parcel that is named"):
        _read(x12([["B10**S*RDWY", "LX*1", D1]]))
    with pytest.raises(BadPayload, match="of no parcel that is named"):
        _read(edifact([["CNI+1", "STS+1+21"]]))


def test_a_scan_of_no_status_or_of_the_year_1_is_told() -> None:
    for at7, said in (("AT7*****20261126*1022*CS", "says neither"), ("AT7*D1*NS***00010101*1022*CS", "is no year")):
        with pytest.raises(BadPayload, match=said):
            _read(x12([["B10*PRO1*S*RDWY", "LX*1", at7]]))


def test_the_place_of_a_scan_is_the_ms1_right_after_it() -> None:
    places = [
        str(s.place) for s in _scans(D1, "MS1*DALLAS*TX*US", D1.replace("1022", "1023"), "MS2*RDWY*53", "MS1*X*Y*US")
    ]

    assert places == ["DALLAS, TX, US", ""]


@pytest.mark.parametrize(
    ("zone", "at", "known"),
    [
        ("05", "2026-07-01T05:00:00+00:00", Zone.OFFSET),
        ("20", "2026-07-01T15:00:00+00:00", Zone.OFFSET),
        ("ED", "2026-07-01T14:00:00+00:00", Zone.OFFSET),
        ("ES", "2026-07-01T15:00:00+00:00", Zone.OFFSET),
        ("ET", "2026-07-01T14:00:00+00:00", Zone.ASSUMED),
        ("NS", "2026-07-01T13:30:00+00:00", Zone.OFFSET),
        ("UT", "2026-07-01T10:00:00+00:00", Zone.OFFSET),
        ("LT", None, Zone.UNKNOWN),
        ("", None, Zone.UNKNOWN),
    ],
)
def test_zone_codes_are_read_as_element_623_lists_them(zone: str, at: str | None, known: Zone) -> None:
    (scan,) = _scans(f"AT7*D1*NS***20260701*1000*{zone}")

    found = scan.occurred_at.astimezone().isoformat() if scan.occurred_at else None
    assert (at is None) is (found is None)
    if at is not None:
        from datetime import datetime

        assert scan.occurred_at == datetime.fromisoformat(at)
    assert scan.zone is known


def test_a_zone_that_nobody_knows_is_told_and_the_scan_kept() -> None:
    (report,), unread = _read(x12([["B10*PRO1*S*RDWY", "LX*1", D1.replace("*CS", "*QQ")]]))

    assert [s.occurred_at for s in report.scans] == [None]
    assert [one.problem for one in unread] == ["has a zone that we do not know: 'QQ'"]


def test_an_old_release_whose_layout_nobody_told_us_is_not_guessed() -> None:
    with pytest.raises(BadPayload, match="layout of the release '003040' is not known"):
        _read(x12(TWO, release="003040"))


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("SD:BS", "exception", "refused"), ("SD:AO", "delayed", "weather"), ("SD:BG", "delayed", "unspecified"),
        ("SD:QQ", "delayed", "unspecified"), ("AH:AQ", "delivery_attempted", "recipient_unavailable"),
        ("A7:BS", "exception", "refused"), ("A3:BT", "returning", "return_initiated"), ("A3", "returned", "received_by_sender"),
        ("D1:S1", "delivered", "partial"), ("D1:AO", "delivered", "delivered"), ("X6", "in_transit", "moving"),
    ],
)  # fmt: skip
def test_a_reason_refines_a_status_and_never_makes_one(code: str, status: str, reason: str) -> None:
    meaning = _source().meaning(Code("AT701", code))

    assert (meaning.status, meaning.reason) == (ShippingStatus(status), Reason(reason))


def test_a_status_whose_reason_says_nothing_more_keeps_its_plain_code_so_that_a_partners_meaning_fits() -> None:
    codes = [scan.code.code for scan in _scans("AT7*X6*AM***20261126*1022*CS", "AT7*SD*NS***20261126*1023*CS")]

    assert codes == ["X6", "SD"]
    assert _source().meaning(Code("AT701", "E1")) is None


# EDIFACT


def _status(*segments: str, kind: str = "D:01B:UN", **more: Any) -> Any:
    body = ["DTM+137:202611261200:203", "CNI+1+C1", *segments]
    reports, unread = _read(edifact([body], kind=kind), **more)
    assert unread == []
    return [(r.number, s) for r in reports for s in r.scans]


@pytest.mark.parametrize(
    ("dtms", "local", "at"),
    [
        (["DTM+334:202611261022:203", "DTM+35:202611260900:203"], "2026-11-26T10:22:00", None),
        (["DTM+178:202611250900:203", "DTM+35:202611260900:203"], "2026-11-26T09:00:00", None),  # 21 is a delivery
        (["DTM+178:20261125:102"], "2026-11-25T00:00:00", None),
        (["DTM+334:202611261022?+0100:205"], "2026-11-26T10:22:00", "2026-11-26T09:22:00+00:00"),
        (["DTM+334:202611261022UTC:303"], "2026-11-26T10:22:00", "2026-11-26T10:22:00+00:00"),
        (["DTM+334:202611261022EST:303"], "2026-11-26T10:22:00", None),
        (["DTM+132:202611301022:203"], "2026-11-26T12:00:00", None),  # an estimate: the message's, assumed
    ],
)
def test_when_it_happened_is_334_else_by_its_status_else_when_the_message_was_written(
    dtms: list[str], local: str, at: str | None
) -> None:
    from datetime import datetime

    ((_, scan),) = _status("STS+1+21::6", *dtms)

    assert scan.local.isoformat() == local
    assert scan.occurred_at == (datetime.fromisoformat(at) if at else None)


@pytest.mark.parametrize(
    "dtm", ["DTM+334:00010101:102", "DTM+334:²:102", "DTM+334:2026112610:203", "DTM+334:20261126:999", "DTM+334:x:205"]
)
def test_a_time_that_cannot_be_read_costs_its_scan_and_is_told(dtm: str) -> None:
    with pytest.raises(BadPayload, match="has no time that can be read"):
        _read(edifact([["CNI+1+C1", "STS+1+21", dtm]]))


@pytest.mark.parametrize(
    ("sts", "kind", "space", "status"),
    [
        ("STS+1+42::6", "D:96A:UN", "STS-9011", "in_transit"),
        ("STS+1+21", "D:00B:UN", "STS-9011", "delivered"),
        ("STS+1+21::9", "D:01A:UN", "STS", "delivered"),
        ("STS+1+72B::9", "D:01B:UN:EAN004", "STS", "delivered"),
        ("STS+1+21::ZZZ", "D:01B:UN", "STS-own", None),
        ("STS+1+999::6", "D:01B:UN", "STS", None),
    ],
)
def test_a_code_is_read_in_its_list(sts: str, kind: str, space: str, status: str | None) -> None:
    ((_, scan),) = _status(sts, kind=kind)
    meaning = _source().meaning(scan.code)

    assert (scan.code.space, meaning.status if meaning else None) == (space, ShippingStatus(status) if status else None)


@pytest.mark.parametrize(
    ("sts", "code", "known"), [("STS+2+21", "2", True), ("STS+7+21", "7", False), ("STS++21", "none", False)]
)
def test_a_status_of_another_category_moves_nothing_and_is_not_dropped(sts: str, code: str, known: bool) -> None:
    ((number, scan),) = _status(sts)
    meaning = _source().meaning(scan.code)

    assert (number, scan.code.space, scan.code.code, scan.code.text) == ("C1", "STS-9015", code, "21")
    assert (meaning is not None, meaning and meaning.status) == (known, None), (
        "6 and 7 may be transport: a person is told"
    )


def test_a_status_of_another_category_moves_a_parcel_where_the_partner_means_it() -> None:
    assert [s.code.code for _, s in _status("STS+7+21", categories=["1", "7"])] == ["21"]


def test_one_status_of_many_packages_is_a_scan_of_each_by_the_partners_choice() -> None:
    sts = ("STS+1+21", "RFF+CN:OTHER", "PCI+33E", "GIN+BJ+P1+P2:P3", "GIN+BJ+P4")

    assert [n for n, _ in _status(*sts)] == ["P1", "P2", "P3", "P4"]
    assert [n for n, _ in _status(*sts, edifact_numbers="CNI")] == ["C1"]
    assert [n for n, _ in _status(*sts, edifact_numbers=["AAM", "CN"])] == ["OTHER"]


def test_the_equipment_branch_of_later_directories_speaks_of_no_parcel() -> None:
    (report,), unread = _read(edifact([["EQD+CN+U1", "STS+1+1", "CNI+1+C1", "STS+1+21"]], kind="D:24A:UN"))

    assert ([s.code.code for s in report.scans], unread) == (["21"], [])


def test_a_place_is_the_locodes_country_and_its_name() -> None:
    places = [
        str(_status("STS+1+21", *loc)[0][1].place)
        for loc in (
            ["LOC+8+DEHAM::6", "LOC+14+NLAMS::6:Amsterdam"], ["LOC+175+NLAMS::6"], ["LOC+14+DEPOT7::ZZZ:Depot 7"], [],
        )
    ]  # fmt: skip

    assert places == ["Amsterdam, NL", "NLAMS, NL", "Depot 7", ""]


def test_letters_are_those_of_the_character_set_that_unb_names() -> None:
    body = edifact([["CNI+1+C1", "STS+1+21:::k\u00f6nnte"]])
    (latin,), _ = _read(body.decode().encode("iso8859-1"))
    (utf8,), _ = _read(body.replace(b"UNOC", b"UNOW"))

    assert latin.scans[0].code.text == utf8.scans[0].code.text == "k\u00f6nnte"


def test_iftsta_needs_a_carrier_in_the_settings() -> None:
    with pytest.raises(BadPayload, match="names no carrier"):
        _read(edifact(IFTSTA), carrier="")


def test_settings_and_questions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValidationError, match=re.escape("no time zone 'Mars/Base'")):
        _source(zone="Mars/Base")
    with pytest.raises(Refused):
        list(_source().fetch(Recorder(), Parcels(())))


# what no interchange of a right mind holds


def _message(head: bytes, body: bytes, kind: str = "file") -> list[Any]:
    return list(_source().normalize(Payload("account", kind, (head, body, b""), AT, {"line": "x"})))


@pytest.mark.parametrize(
    ("head", "body", "said"),
    [
        (b"ISA*short", b"ST*214*1~SE*2*1~", "is no X12: X12Error"),
        (ISA.encode(), b"GS*QM~AT7*D1~", "is not one message from ST to SE"),
        (ISA.encode(), b"GS*QM~ST*214*1~~SE*2*1~", "is not one message from ST to SE"),
        (ISA.replace("RDWY", "RDW\u00c9").encode(), b"ST*214*1~SE*2*1~", "is not ASCII"),
        (b"UNA:+.? 'UNB+UNOC:3'", b"UNH+1", "is no EDIFACT: EDISyntaxError"),
        (b"UNA:+.? 'UNB+UNOC:3'", b"BGM+1'", "is not one message from UNH to UNT"),
    ],
)
def test_a_message_that_is_none_is_a_bad_payload(head: bytes, body: bytes, said: str) -> None:
    with pytest.raises(BadPayload, match=re.escape("$.ST[1]")) as error:
        _message(head, body)

    assert said in error.value.problem


def test_a_number_or_place_that_is_none_is_told_with_the_scan_it_belongs_to() -> None:
    _, x12_unread = _read(x12([["B10*PRO1*S*RDWY", "LX*1", D1, "L11*A B*2I", "L11*T1*2I"], *TWO]))
    _, unread = _read(edifact([["CNI+1+A B", "STS+1+21", "CNI+2+C2", "STS+1+21", "LOC+14+X::6"]]))

    assert [one.problem[:21] for one in x12_unread] == ["is no tracking number"]
    assert [(one.problem[:17], one.subject, one.lacks) for one in unread] == [
        ("is no tracking nu", "", "all"), ("of no parcel that", "", "all"), ("is no UN/LOCODE: ", "C2", ""),
    ]  # fmt: skip
    _, countries = _read(x12([["B10*PRO1*S*RDWY", "LX*1", D1, "MS1*X*Y*GERMANY"]]))
    assert [one.problem for one in countries] == ["MS103 is no country: 'GERMAN'"]


def test_groups_that_are_not_closed_or_close_nothing_are_told() -> None:
    said = [one.problem for one in _read(x12(TWO).replace(b"GE*2*45~", b""))[1]]
    twice = [one.problem for one in _read(x12(TWO).replace(b"GE*2*45~", b"GE*2*45~GE*2*45~"))[1]]

    assert said == ["'IEA' comes before GE"]
    assert twice == ["'GE' closes nothing"]


def test_an_interchange_that_ends_where_the_next_begins_is_told_and_both_are_read() -> None:
    reports, unread = _read(x12(TWO).split(b"IEA")[0] + x12([["B10*PRO3*S*RDWY", "LX*1", D1]]))

    assert [r.number for r in reports] == ["PRO1", "PRO2", "PRO3"]
    assert [one.problem for one in unread] == ["the interchange ends without IEA"]


def test_edifact_groups_are_counted_where_they_are_used() -> None:
    grouped = edifact(IFTSTA).replace(b"UNH+1", b"UNG+IFTSTA+A+B+261126:1200+G1'UNH+1")
    whole = grouped.replace(b"UNZ+2", b"UNE+2+G1'UNZ+1")

    assert _read(whole)[1] == []
    assert [one.problem for one in _read(whole.replace(b"UNZ+1", b"UNZ+2"))[1]] == [
        "'UNZ' counts '2' messages or groups, and 1 came"
    ]


def test_a_message_that_nobody_can_hold_is_told_and_the_next_one_is_read() -> None:
    long = ["B10*PRO1*S*RDWY", *(["K1*" + "x" * 60_000] * 80)]
    reports, unread = _read(x12([long, TWO[1]]))

    assert [r.number for r in reports] == ["PRO2"]
    assert "this message is longer than 4194304 bytes" in [one.problem for one in unread]


def test_a_segment_without_an_end_is_held_no_further_than_it_may_be_long() -> None:
    with pytest.raises(BadPayload, match="or it is too long"):
        _read(x12([["B10*PRO1*S*RDWY", "K1*" + "x" * 200_000]]))


def test_a_zone_of_the_settings_counts_where_nothing_else_says_one() -> None:
    source = _source(zone="America/Chicago")

    assert (source.default_zone, source.carriers) == ("America/Chicago", ("acme",))


@pytest.mark.parametrize(
    ("code", "reason", "day"), [("AB", "delivery_scheduled", 27), ("AA", "pickup_scheduled", None), ("ZZ", None, None)]
)
def test_an_appointment_is_kept_and_moves_nothing_and_one_of_the_delivery_promises_it(
    code: str, reason: str | None, day: int | None
) -> None:
    body = x12([["B10*PRO1*S1*RDWY", "LX*1", f"AT7***{code}*NA*20261127*0900*UT"]])
    (report,), unread = _read(body)
    (scan,) = report.scans
    meaning = _source().meaning(scan.code)

    assert (scan.code.space, scan.code.code) == ("AT703", code)
    assert (meaning and meaning.status, meaning and meaning.reason) == (None, reason), "ZZ is nobody's: UNKNOWN"
    assert (report.edd.begins.day if report.edd else None, unread) == (day, [])
