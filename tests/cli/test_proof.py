"""`tracker proof`: a document of a carrier goes into a file of the person who asks, and nowhere else."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.app.press import Pressed
from tests.fed import NOBODYS, OTHER, PARCEL, Fed
from tests.lab import Lab
from tracker.cli.main import cli
from tracker.domain.facts import Summary
from tracker.sandbox.base import FaultyResponse
from tracker.sandbox.fakes.postnl import SIGNATURE
from tracker.store import tables as t
from tracker.store.codec import SUMMARY, dump

Run = Callable[..., tuple[int, str]]
one_database = pytest.mark.parametrize("database", ["sqlite"], indirect=True)  # what they ask is the same of both


@pytest.fixture
def fed(make_lab: Callable[..., Lab], tmp_path: Path) -> Iterator[Fed]:
    """One parcel that was delivered, one on its way, one that is nobody's."""
    with ExitStack() as stack:
        fed = Fed(make_lab, tmp_path, stack)
        lab = fed.begin(PARCEL, OTHER)
        fed.scan(NOBODYS, "22", "I02")
        fed.scan(PARCEL, "11", "I01")
        fed.hours(1)
        assert lab.parcel(PARCEL).status == "delivered"
        yield fed


@pytest.fixture
def run(fed: Fed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.yaml").write_text(fed.lab.yaml)

    def said(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["proof", *words, "-c", "t.yaml", "--by", "ada"])
        return done.exit_code, f"{done.output}{done.exception if not isinstance(done.exception, SystemExit) else ''}"

    return said


@pytest.mark.process
def test_a_person_gets_the_document_in_a_file_only_they_can_read_and_nothing_of_it_is_kept(fed, tmp_path) -> None:
    (tmp_path / "t.yaml").write_text(fed.lab.yaml)
    out = tmp_path / "proof.gif"
    words = ["proof", PARCEL.lower(), "--out", str(out), "--by", "ada", "-c", str(tmp_path / "t.yaml")]
    process = Pressed(words, {"PATH": "", "HOME": "/"}, tmp_path / "log")

    assert process.wait(30) == 0, (tmp_path / "log").read_text()
    assert (
        f"image/gif, {len(SIGNATURE)} bytes of postnl {PARCEL}, by postnl; noted at #1001"
        in (tmp_path / "log").read_text()
    )
    assert Pressed([*words[:1], OTHER, *words[4:]], {"PATH": "", "HOME": "/"}, tmp_path / "log").wait(30) == 1
    assert f"postnl has no document of postnl {OTHER} yet" in (tmp_path / "log").read_text()
    assert out.read_bytes() == SIGNATURE
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    (said,) = fed.lab.rows(t.statements)
    assert (said.kind, said.by) == ("note", "ada")
    assert said.text == f"proof of delivery of postnl {PARCEL} fetched from postnl (image/gif, {len(SIGNATURE)} bytes)"
    kept = [value for row in fed.lab.rows(t.inbox) for value in row if isinstance(value, bytes)]
    assert kept and not any(SIGNATURE in value or b"SignatureImage" in value for value in kept)


@one_database
def test_a_file_that_is_there_is_not_written_over_unless_that_is_said(fed, run, tmp_path) -> None:
    assert run(PARCEL)[0] == 0
    made = tmp_path / f"proof-{PARCEL}.gif"
    made.write_bytes(b"mine")

    code, said = run(PARCEL, "--out", str(made))
    assert (code, "is there already" in said, fed.postnl.calls["signature"]) == (2, True, 1)
    assert (run(PARCEL)[0] != 0, made.read_bytes()) == (True, b"mine")  # the name that it would have by itself
    assert run(PARCEL, "--out", str(made), "--replace")[0] == 0
    assert made.read_bytes() == SIGNATURE


@one_database
def test_where_there_is_none_yet_or_it_is_refused_or_nobody_answers_that_is_said_and_nothing_written(
    fed, run, tmp_path
) -> None:
    code, said = run(OTHER)
    assert (code, f"postnl has no document of postnl {OTHER} yet: it is picked_up (No signature found)" in said) == (
        1,
        True,
    )

    faults = fed.postnl.faults.told
    for status, body, words in (
        (401, b"{}", "postnl refuses the document"), (400, b"{}", "postnl refuses the document"),
        (429, b"{}", "does not give the document"), (200, b'{"Signature": {}}', "SignatureImage"),
        (200, b'{"x": "' + b"x" * (6 << 20) + b'"}', "is larger than"),
    ):  # fmt: skip
        faults[:] = [FaultyResponse(9, None, False, "signature", status, body)]
        code, said = run(PARCEL)
        assert (code, words in said) == (1, True), said
    assert not list(tmp_path.glob("proof-*"))
    assert fed.lab.rows(t.statements) == []


def test_nobody_is_asked_for_an_account_that_is_paused_suspended_or_rests(fed, run) -> None:
    for values, words in (
        ({"paused_at": fed.lab.clock()}, "postnl is paused"),
        ({"paused_at": None, "suspended_reason": "HTTP 401"}, "postnl is suspended: HTTP 401"),
    ):
        fed.lab.change(t.accounts.update().where(t.accounts.c.name == "postnl").values(**values))
        code, said = run(PARCEL)
        assert (code, words in said) == (1, True), said
    assert fed.postnl.calls["signature"] == 0


@one_database
def test_of_a_number_of_several_carriers_somebody_must_say_who_is_meant(fed, run) -> None:
    row = fed.lab.parcel(PARCEL)._mapping
    other = {**row, "carrier": "fedex", "status": "unknown", "summary": dump(SUMMARY, Summary()), "last_scan_at": None}
    del other["id"]
    fed.lab.change(t.shipments.insert().values(**other))
    (id_,) = [r.id for r in fed.lab.rows(t.shipments, t.shipments.c.carrier == "fedex")]
    code, _ = run(PARCEL, "--replace")
    assert code == 0, "nobody can fetch the other one's"

    fed.lab.change(
        t.watches.insert().values(shipment_id=id_, account="postnl", tracking_state="active", attempts=0, failures=0)
    )
    code, said = run(PARCEL)
    assert (
        code,
        f"several parcels have the number {PARCEL}: fedex (postnl), postnl (postnl); say --account" in said,
    ) == (1, True)


@one_database
def test_what_cannot_be_is_said(fed, run) -> None:
    for words, code, said in (
        (("99",), 1, "nothing is known of '99'"),
        ((PARCEL, "--account", "dhl"), 1, "dhl fetches no documents"),
        ((PARCEL, "--account", "shop"), 2, "no carrier account 'shop'"),
    ):
        done: Any = run(*words)
        assert (done[0], said in done[1]) == (code, True), done


@one_database
def test_of_a_parcel_that_is_nobodys_the_document_is_handed_out_and_no_order_tells_of_it(fed, run) -> None:
    code, said = run(NOBODYS)
    assert (code, "No signature found" in said) == (1, True)
    fed.scan(NOBODYS, "11", "I01")
    code, said = run(NOBODYS)

    assert (code, "noted at" in said) == (0, False)
    assert fed.lab.rows(t.statements) == []
