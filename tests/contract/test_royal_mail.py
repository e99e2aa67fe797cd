"""Royal Mail's calls, examples and codes against its official contract in ../shared, where it is at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.code_lists import Listed, decided, nothing_stale
from tests.contract.test_shared import SHARED, SPECS, Recorder, _codes, _openapi, _resolve, plugin
from tracker.domain.errors import CredentialsRejected, NotFound, RateLimited, Refused, Transient
from tracker.domain.facts import Parcel, Parcels, Payload
from tracker.plugin.calls import Response
from tracker.plugin.conformance import AT

pytestmark = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared is not here: the official contracts are not shipped"
)
FIXTURES = Path(__file__).parents[1] / "fixtures" / "royal_mail"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return _openapi(SPECS / "royalmail" / "tracking-v2-swagger.yaml")


def _example(document: dict[str, Any], node: Any) -> Any:
    """Return what a definition looks like by the examples of its own properties."""
    node = _resolve(document, node)
    if "properties" in node:
        return {name: _example(document, inner) for name, inner in node["properties"].items()}
    if node.get("type") == "array":
        return [_example(document, node["items"])]
    return node.get("example", "")


def test_the_calls_are_what_the_contract_describes(document: dict[str, Any]) -> None:
    source, client = (
        plugin("carriers.royal_mail"),
        Recorder({"mailPieces": [{"mailPieceId": "A", "summary": {"x": 1}}]}),
    )
    list(source.fetch(client, Parcels((Parcel("royalmail", "FQ087430672GB"),))))
    list(source.fetch(client, Parcels((Parcel("royalmail", "FQ087430672GB"), Parcel("royalmail", "FQ087430690GB")))))
    with pytest.raises(NotFound):
        source.proof(client, Parcel("royalmail", "FQ087430672GB"), None)
    base = f"{document['x-ibm-endpoints'][0]['endpointUrl']}{document['basePath']}"
    paths = [
        sent.url.removeprefix(base).replace("FQ087430672GB", "{mailPieceId}").replace("FQ087430690GB", "{mailPieceId}")
        for sent in client.sent
    ]

    assert paths == [
        "/{mailPieceId}/events",
        "/summary",
        "/{mailPieceId}/events",
        "/{mailPieceId}/events",
        "/{mailPieceId}/signature",
    ]
    assert set(paths) == set(document["paths"])
    named = {one["name"] for one in document["securityDefinitions"].values()} | {
        document["parameters"]["X-Accept-RMG-Terms"]["name"]
    }
    assert all(named <= set(sent.headers) and sent.method == "GET" for sent in client.sent)
    assert [set(sent.params) for sent in client.sent if sent.params] == [{"mailPieceId"}]


def test_the_examples_of_an_answer_are_read_as_a_careful_reader_does(document: dict[str, Any]) -> None:
    source = plugin("carriers.royal_mail")
    for name in ("eventsSuccessResponse", "summarySuccessResponse"):
        body = _example(document, document["definitions"][name])
        for piece in body["mailPieces"] if name.startswith("summary") else ():
            del piece["error"]  # a piece has a summary or an error
        raw = json.dumps(body).encode()
        source.raise_for_status(Response(200, {}, raw, AT))
        (report,) = source.normalize(Payload("a", "poll", (raw,), AT, {}))
        (scan,) = report.scans

        assert (report.number, report.piece, report.links) == ("090367574000000FE1E1B", None, ())
        assert (scan.code.code, scan.code.text, scan.place.city) == ("EVNMI", "Forwarded - Mis-sort", "Stafford DO")
        assert scan.occurred_at is not None
        assert scan.occurred_at.isoformat() == "2016-10-20T10:04:00+01:00"
        assert source.meaning(scan.code).status == "exception"
        assert report.complete == name.startswith("events")
        if report.complete:
            assert (report.edd.begins.isoformat(), report.edd.ends.isoformat()) == (
                "2017-02-20T08:00:00+01:00",
                "2017-02-20T11:00:00+01:00",
            )
            assert report.proof.signed


def test_the_example_of_a_signature_is_read(document: dict[str, Any]) -> None:
    body = _example(document, document["definitions"]["signatureSuccessResponse"])
    found = plugin("carriers.royal_mail").proof(Recorder(body), Parcel("royalmail", "FQ087430672GB"), None)

    assert found.kind == "image/svg+xml"
    assert found.content.startswith(b'<svg height="530" width="660"><polyline style=')
    assert found.content.endswith(b"</svg>")


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [("errorResponse", 404, NotFound), ("401", 401, CredentialsRejected), ("403errorResponse", 403, CredentialsRejected), ("405", 405, Refused),
     ("429", 429, RateLimited), ("500", 500, Transient)],
)  # fmt: skip
def test_the_examples_of_an_error_are_errors(
    document: dict[str, Any], name: str, status: int, error: type[Exception]
) -> None:
    named = document["definitions"]
    body = json.dumps(_example(document, named[name] if name in named else named[int(name)])).encode()

    with pytest.raises(error):
        plugin("carriers.royal_mail").raise_for_status(Response(status, {}, body, AT))


def test_the_fixtures_hold_only_what_the_contract_describes(document: dict[str, Any]) -> None:
    import jsonschema

    for name, definition in (("events-three", "eventsSuccessResponse"), ("summary-three", "summarySuccessResponse")):
        body = json.loads((FIXTURES / f"{name}.poll.json").read_text())
        if name == "summary-three":
            body["mailPieces"] = body["mailPieces"][:2]  # the third is odd on purpose
        jsonschema.Draft4Validator({**document, "$ref": f"#/definitions/{definition}"}).validate(body)


def test_each_code_of_its_lists_is_decided(record_property: Any) -> None:
    lists: dict[str, list[Listed]] = {}
    for file, wording in (("direct_carriers.csv", "carrier_label"), ("more_codes.csv", "wording")):
        rows = _codes("royalmail", file)
        lists[f"specs/_status_maps/{file}"] = [Listed("event", row["code"], row[wording]) for row in rows]
    assert [len(rows) for rows in lists.values()] == [33, 12]
    for source, listed in lists.items():
        decided("royal_mail", source, listed, record_property)
    nothing_stale("royal_mail", [row for rows in lists.values() for row in rows])
