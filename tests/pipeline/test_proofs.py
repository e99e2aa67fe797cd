"""The document of a delivery is fetched once, where the order's store keeps documents; what becomes of it is told."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.app.press import Pressed
from tests.fed import OTHER, PARCEL, Fed
from tests.lab import H, Lab
from tracker.cli.main import cli
from tracker.pipeline import proofs
from tracker.sandbox.base import FaultyResponse
from tracker.sandbox.fakes.postnl import SIGNATURE
from tracker.store import tables as t
from tracker.store.engine import database_now
from tracker.upkeep import maintenance

Made = Callable[..., Fed]
one_database = pytest.mark.parametrize(
    "database", ["sqlite"], indirect=True
)  # a command is played in it: what it says is the same of both


@pytest.fixture
def make_fed(make_lab: Callable[..., Lab], tmp_path: Path) -> Iterator[Made]:
    with ExitStack() as stack:

        def made(*, keeps: bool = True, entry: str = "") -> Fed:
            store = f"mode: write, keep_proofs: {str(keeps).lower()}"
            return Fed(lambda **more: make_lab(store=store, **more), tmp_path, stack, entry)

        yield made


def delivered(fed: Fed, number: str = PARCEL) -> Lab:
    """Let a parcel be delivered, and an hour pass in which all that is due is worked."""
    lab = fed.begin(number)
    fed.scan(number, "11", "I01")
    fed.hours(1)
    assert lab.parcel(number).status == "delivered"
    return lab


def asked(fed: Fed) -> int:
    return int(fed.postnl.calls["signature"])


def shown(lab: Lab, folder: Path, *words: str) -> str:
    (folder / "t.yaml").write_text(lab.yaml)
    done = CliRunner().invoke(cli, [*words, "-c", str(folder / "t.yaml")])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_delivery_of_a_store_that_keeps_documents_is_asked_for_once_and_kept_with_its_hash(make_fed: Made) -> None:
    fed = make_fed()
    lab = delivered(fed)
    row = lab.one(t.proofs)
    assert (row.state, row.account, row.kind, row.document) == ("kept", "postnl", "image/gif", SIGNATURE)
    assert (row.sha256, row.size) == (hashlib.sha256(SIGNATURE).hexdigest(), len(SIGNATURE))

    fed.scan(PARCEL, "11", "I01", text="again")
    fed.hours(30)
    lab.order("#1002", PARCEL, company="PostNL")
    fed.hours(3)
    assert asked(fed) == 1


def test_a_store_that_does_not_keep_documents_has_none_asked_for(make_fed: Made) -> None:
    fed = make_fed(keeps=False)
    lab = delivered(fed)
    assert (lab.rows(t.proofs), asked(fed)) == ([], 0)


def test_a_parcel_that_is_on_its_way_is_not_asked_for(make_fed: Made) -> None:
    fed = make_fed()
    lab = fed.begin()
    assert (lab.rows(t.proofs), asked(fed)) == ([], 0)


def test_an_order_that_names_its_parcel_after_the_delivery_has_its_document_too_but_not_for_history(
    make_fed: Made,
) -> None:
    fed = make_fed()
    lab = fed.begin(OTHER)
    fed.scan(PARCEL, "11", "I01")
    fed.hours(2)
    assert lab.rows(t.proofs) == []
    lab.order("#1002", PARCEL, company="PostNL")
    fed.hours(1)
    assert lab.one(t.proofs).state == "kept"

    old = "3SDEVC100000077"
    fed.scan(old, "11", "I01", hours=-24 * 9)
    lab.order("#1003", old, company="PostNL")
    fed.hours(7)
    assert lab.parcel(old).status == "delivered"
    assert asked(fed) == 1


@one_database
def test_where_there_is_none_yet_it_is_asked_for_later_and_after_four_days_never_again(
    make_fed: Made, tmp_path: Path
) -> None:
    fed = make_fed()
    none = json.dumps({"Warnings": {"Warning": {"Message": "No signature found", "Code": "2"}}}).encode()
    fed.postnl.faults.told[:] = [FaultyResponse(99, None, False, "signature", 200, none)]
    lab = delivered(fed)
    row = lab.one(t.proofs)
    assert (row.state, row.next_at is not None, row.failures) == ("wanted", True, 1)
    assert "wanted, postnl is asked" in shown(lab, tmp_path, "show", "1001")

    for _ in range(6):
        fed.hours(24, step=24)
    row = lab.one(t.proofs)
    assert (row.state, row.next_at, "No signature found" in row.error) == ("none", None, True)
    assert fed.postnl.faults.told[0].left == 99 - 5
    assert "document: postnl has none: No signature found" in shown(lab, tmp_path, "show", "1001")


def test_a_signature_that_comes_a_day_later_is_had(make_fed: Made) -> None:
    fed = make_fed()
    none = json.dumps({"Warnings": {"Warning": {"Message": "No signature found", "Code": "2"}}}).encode()
    fed.postnl.faults.told[:] = [FaultyResponse(2, None, False, "signature", 200, none)]
    lab = delivered(fed)
    fed.hours(12, step=4)
    row = lab.one(t.proofs)
    assert (row.state, row.error, row.document) == ("kept", None, SIGNATURE)


@pytest.mark.parametrize(
    ("status", "body", "state", "said"),
    [
        (400, b"{}", "refused", "does not give it"),
        (200, b'{"Signature": {}}', "refused", "SignatureImage"),
        (500, b"", "wanted", "it said"),
    ],
)
@one_database
def test_a_document_that_cannot_be_had_says_why_and_is_not_asked_for_for_ever(
    make_fed: Made, tmp_path: Path, status: int, body: bytes, state: str, said: str
) -> None:
    fed = make_fed()
    fed.postnl.faults.told[:] = [FaultyResponse(99, None, False, "signature", status, body)]
    lab = delivered(fed)
    for _ in range(4):
        lab.rested()
        fed.hours(3)
    assert lab.one(t.proofs).state == state
    assert said in shown(lab, tmp_path, "show", "1001")


def test_a_refused_key_suspends_the_account_and_the_document_waits(make_fed: Made) -> None:
    fed = make_fed()
    lab = fed.begin()
    fed.postnl.faults.told[:] = [FaultyResponse(99, None, False, "signature", 401, b"{}")]
    fed.scan(PARCEL, "11", "I01")
    fed.hours(1)
    assert fed.account().suspended_reason is not None
    assert (lab.one(t.proofs).state, lab.one(t.proofs).failures) == ("wanted", 0)


@one_database
def test_one_that_is_too_large_is_told_and_not_kept(
    make_fed: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "MOST_BYTES", len(SIGNATURE) - 1)
    lab = delivered(make_fed())
    row = lab.one(t.proofs)
    assert (row.state, row.document, row.size) == ("too_large", None, len(SIGNATURE))
    assert "document: not kept: it has" in shown(lab, tmp_path, "show", "1001")


@one_database
def test_it_is_dropped_after_its_retention_and_its_hash_stays(make_fed: Made, tmp_path: Path) -> None:
    lab = delivered(make_fed())
    lab.clock.move_to(lab.clock() + timedelta(days=179))
    assert maintenance.prune(lab.ctx)["proofs"] == 0
    lab.clock.move_to(lab.clock() + timedelta(days=2))
    assert maintenance.prune(lab.ctx)["proofs"] == 1
    row = lab.one(t.proofs)
    assert (row.state, row.document, row.sha256) == ("dropped", None, hashlib.sha256(SIGNATURE).hexdigest())
    assert "kept until its retention was over" in shown(lab, tmp_path, "show", "1001")


def test_who_lost_his_claim_keeps_nothing_and_what_a_process_held_that_died_is_claimed_again(make_fed: Made) -> None:
    fed = make_fed()
    fed.postnl.faults.told[:] = [FaultyResponse(1, None, False, "signature", 500, b"")]
    lab = delivered(fed)
    row = lab.one(t.proofs)
    account = lab.ctx.config.accounts["postnl"]
    with lab.ctx.store.write() as connection:
        past = database_now(connection) - H
        held = t.proofs.update().values(attempts=row.attempts + 5, claimed_until=past, next_at=lab.clock())
        connection.execute(held)
    assert proofs.work(lab.ctx, account, row) is None
    assert lab.one(t.proofs).document is None
    lab.rested()
    lab.work()
    assert lab.one(t.proofs).document == SIGNATURE


@pytest.mark.process
@one_database
def test_the_evidence_pack_holds_the_document_and_fetches_one_that_is_not_kept_once(
    make_fed: Made, tmp_path: Path
) -> None:
    fed = make_fed(keeps=False)
    lab = delivered(fed)
    (tmp_path / "t.yaml").write_text(lab.yaml)
    for time in (1, 2):
        out = tmp_path / f"{time}.zip"
        words = ["evidence", "1001", "-o", str(out), "-c", str(tmp_path / "t.yaml")]
        process = Pressed(words, {"PATH": "", "HOME": "/"}, tmp_path / "log")
        assert process.wait(30) == 0, (tmp_path / "log").read_text()
        assert "1 document of deliveries" in (tmp_path / "log").read_text()
        with zipfile.ZipFile(out) as archive:
            (parcel,) = json.loads(archive.read("evidence.json"))["orders"][0]["parcels"]
            assert archive.read(parcel["document"]["file"]) == SIGNATURE
            assert parcel["document"]["sha256"] == hashlib.sha256(SIGNATURE).hexdigest()
            assert parcel["document"]["file"] in archive.read("SHA256SUMS").decode()
    assert asked(fed) == 1
    shown(lab, tmp_path, "proof", PARCEL, "--out", str(tmp_path / "p.gif"))
    assert ((tmp_path / "p.gif").read_bytes(), asked(fed)) == (SIGNATURE, 1)
    said = shown(lab, tmp_path, "evidence", "1001", "-o", str(tmp_path / "then.zip"), "--at", lab.clock().isoformat())
    assert "0 documents" in said


@one_database
def test_what_the_pack_lacks_it_says_and_why(make_fed: Made, tmp_path: Path) -> None:
    fed = make_fed(keeps=False)
    fed.postnl.faults.told[:] = [FaultyResponse(99, None, False, "signature", 400, b"{}")]
    lab = delivered(fed)
    out = str(tmp_path / "1.zip")
    assert f"no document of postnl {PARCEL}: postnl refuses the document" in shown(
        lab, tmp_path, "evidence", "1001", "-o", out
    )
    lab.change(t.accounts.update().where(t.accounts.c.name == "postnl").values(suspended_reason="HTTP 401"))
    out = str(tmp_path / "2.zip")
    assert "postnl is suspended: HTTP 401" in shown(lab, tmp_path, "evidence", "1001", "-o", out)
    lab.change(t.watches.delete())
    lab.change(t.shipments.update().values(carrier="ontrac"))
    out = str(tmp_path / "3.zip")
    assert f"no document of ontrac {PARCEL}: no account fetches it" in shown(
        lab, tmp_path, "evidence", "1001", "-o", out
    )
    with zipfile.ZipFile(out) as archive:
        assert "no account fetches it" in archive.read("index.html").decode()
