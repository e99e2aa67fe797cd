"""The ten questions of whoever is woken at 3 a.m., each asked by one command in seven installations: one is healthy, six are not.

What is demanded of each answer: its first sentences name what is true there, its exit code says so to a script, and it says nothing
that is true elsewhere only.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.worlds import NAMES, WORLDS, World

# question -> the one command that answers it; {folder} is where files are
QUESTIONS = {
    1: "status",
    2: "show {order}",
    3: "explain {order}",
    4: "drift",
    5: "findings",
    6: "outages",
    7: "stuck",
    8: "outbox --store {store} --today",
    9: "whatif --policy {folder}/new.yaml",
    10: "report carriers",
}
# world -> question -> (exit code; None: either, what the answer says, what it must not say)
SAID: dict[str, dict[int, tuple[int | None, list[str], list[str]]]] = {
    "healthy": {
        1: (0, ["all is well: 1 process, 3 accounts, 1 store, as of 2026-11-02 16:00Z"], ["WRONG", "to look at"]),
        2: (0, ["order #1001 is shipped", "is delivered since 2026-11-02 15:00Z", "do not contradict each other"], ["Not known"]),
        3: (0, ["We wrote delivered to order #1001 at 2026-11-02 1", "easypost is asked about it again"], ["heal", "paused"]),
        4: (0, ["no drift: of 2 orders, all known as of 2026-11-02"], ["not known"]),
        5: (0, ["no findings: of 2 orders, all known"], ["First"]),
        6: (0, ["no outage: nobody is away, and nobody was"], []),
        7: (0, ["nothing is stuck: of 2 orders, all known"], []),
        8: (0, ["3 writes went to shop since 2026-11-02 00:00Z, for 2 orders: 3 fulfilment events", "`tracker pause shop` stops all"], ["brake"]),
        9: (0, ["Nothing would change: of 2 orders", "Nothing was written"], []),
        10: (0, ["2 parcels, 2026-10-04 to 2026-11-02", "known of 1 of 1 delivered"], []),
    },
    "carrier away": {
        1: (1, ["WRONG: ups does not answer since 2026-11-03 ", "`tracker heal` once ups answers"], ["all is well", "all runs"]),
        2: (0, ["is picked up since 2026-11-02 09:00Z", "Not known: ups 1ZR589390357567121"], ["do not contradict"]),
        3: (0, ["Not known: ups 1ZR589390357567121", "ups is asked about it again at"], ["do not contradict"]),
        4: (1, ["no drift among the orders that are known: 1; not known: 1", "the carrier does not answer"], ["all known"]),
        5: (0, ["1 finding here (1 warning)", "First: ups: A shop or carrier does not answer", "What heals it: asked again within"], []),
        6: (1, ["ups does not answer since 2026-11-03 ", "easypost", "back"], ["nobody is away"]),
        7: (0, ["nothing is stuck among the orders that are known: 1; not known: 1"], []),
        8: (0, ["nothing was written to shop since 2026-11-03 00:00Z", "it is not paused now"], []),
        9: (0, ["Nothing would change"], []),
        10: (0, ["2 parcels"], ["1 of 1 delivered"]),
    },
    "shop refuses": {
        1: (1, ["WRONG: shop is suspended: its credentials are refused; do: put new credentials of shop", "tracker reload"], ["all is well"]),
        2: (0, ["is delivered since 2026-11-02 15:00Z", "the shop in transit", "the shop refuses our credentials"], ["do not contradict"]),
        3: (0, ["We will write delivered to order #1001", "Nothing is read from or written to shop", "new credentials of shop"], ["We wrote delivered"]),
        4: (1, ["1 order disagrees with what its carrier says (1 shop behind). First:", "order #1001", "What heals it:"], ["no drift"]),
        5: (0, ["1 finding here (1 urgent). First: shop: Our credentials are refused", "tracker reload"], ["no findings"]),
        6: (1, ["shop refuses our credentials since 2026-11-02 1", "1 write waits"], ["nobody is away"]),
        7: (0, ["not known: 2"], ["all known"]),
        8: (0, ["; 1 waiting", "shop is suspended (`tracker check` says why): nothing is written to it now"], ["not paused now"]),
        9: (0, ["Nothing would change"], []),
        10: (0, ["2 parcels"], []),
    },
    "people": {
        1: (1, ["WRONG: 1 urgent finding is open since", "shop #1001: The order is cancelled and a parcel of it is in custody"], ["all is well"]),
        2: (0, ["order #1001 is cancelled since 2026-11-02 17:00Z", "is in transit"], ["do not contradict"]),
        3: (0, ["is cancelled, which people decide, so we write nothing", "having usps bring 9400111206206406260787 back"], ["We will write"]),
        4: (1, ["1 order disagrees with what its carrier says (1 cancelled but moving)", "tracker record '#1001' accepted"], ["no drift"]),
        5: (0, ["1 finding here (1 urgent). First: order #1001 in shop: The order is cancelled", "`tracker explain '#1001'`"], ["no findings"]),
        6: (0, ["nobody is away"], []),
        7: (0, ["nothing is stuck"], []),
        8: (0, ["writes went to shop since 2026-11-02 00:00Z"], []),
        9: (0, ["Nothing would change"], []),
        10: (0, ["3 parcels"], []),
    },
    "brake": {
        1: (1, ["WRONG: the brake of easypost for usps is on since 2026-11-02", "then `tracker resume easypost` where it is true"], ["all is well"]),
        2: (0, ["order #200 is shipped", "is delivered since"], []),
        3: (0, ["Writing delivered to order #200 is held since", "then `tracker resume easypost` releases it"], ["We wrote delivered"]),
        4: (1, ["8 orders disagree with what their carriers say (8 shop behind)", "8 writes", "it takes `tracker resume easypost`"], ["no drift"]),
        5: (0, ["1 finding here (1 urgent). First: easypost/ends/usps", "tracker remap easypost"], ["no findings"]),
        6: (0, ["nobody is away"], []),
        7: (0, ["nothing is stuck among"], []),
        8: (0, ["; 8 held by a brake", "what a brake holds is not written before `tracker resume ACCOUNT`"], []),
        9: (1, ["It would change 8 of 10 orders", "order #20", "Nothing was written"], ["Nothing would change"]),
        10: (0, ["10 parcels", "known of 8 of 8 delivered"], []),
    },
    "silent": {
        1: (0, ["all runs: 1 process, 2 accounts", "to look at: 3 findings (tracker findings), 1 difference between shop and carrier"], ["all is well"]),
        2: (0, ["no news since 2026-11-02 09:00Z (asked 2026-11-11"], ["delivered"]),
        3: (0, ["The parcel stands still for longer than usual", "ups is asked about it again at 2026-11-11"], []),
        4: (1, ["(1 shop ahead). First: The shop says more of order #1002", "handed_over", "no account covers fedex"], ["no drift"]),
        5: (0, ["3 findings here (3 warning)", "A label exists and the carrier never got the parcel"], ["urgent"]),
        6: (0, ["nobody is away"], []),
        7: (0, ["2 parcels are silent and watched, 1 parcel is watched by nobody; the next look is at 2026-11-11", "tracker findings"], ["nothing is stuck"]),
        8: (0, ["nothing was written to shop since 2026-11-11 00:00Z", "`tracker pause shop` stops"], []),
        9: (None, ["of 3 orders and", "Nothing was written"], []),
        10: (0, ["3 parcels", "2 of them not handed over yet"], []),
    },
    "we": {
        1: (1, ["first: no process runs; last seen 2026-11-03 ", "do: start it: tracker up", "shop is paused since", "was not read"], ["all is well"]),
        2: (0, ["is out for delivery", "a sweep was due at 2026-11-03"], ["do not contradict"]),
        3: (0, ["The shop refused our writing out for delivery to order #1001", "`tracker resume shop`", "`tracker outbox retry"], ["We wrote out"]),
        4: (1, ["1 order disagrees", "nobody has heard of it, so nothing is asked", "1 payload", "the store is paused since"], ["no drift"]),
        5: (0, ["3 findings", "2 warning, 1 info", "and this is not known"], ["no findings"]),
        6: (1, ["we are away since 2026-11-03 ", "`tracker up` starts us", "caught up"], ["nobody is away"]),
        7: (0, ["among the orders that are known: 0; not known: 2"], ["all known"]),
        8: (0, ["nothing was written to shop since 2026-11-03 00:00Z; 1 refused", "shop is paused since", "`tracker resume shop` goes on"], ["not paused"]),
        9: (0, ["Nothing would change"], []),
        10: (0, ["2 parcels"], ["1 of 1 delivered"]),
    },
}  # fmt: skip
ASIDE: dict[str, dict[str, list[str]]] = {
    "carrier away": {
        "outages --json": ['"whose": "easypost"', '"state": "back"', "easypost did not answer from 2026-11-02 ", " told after it"],
    },
    "people": {
        "explain 7": ["We set order #7 back to in transit at 2026-11-02 1", ": the shop said delivered, set by somebody who may not, and the carrier in transit."],
        "findings --closed --kind system_controlled_edit": ["restore '", "Somebody changed a status that only the system may set"],
        "outbox --store kart --today": [" went to kart since 2026-11-02 00:00Z, for 1 order: ", " order status"],
    },
    "silent": {"findings --limit 1 --after 3": ["stuck"], "findings --limit 1 --json": ['"kind": "label_never_scanned"']},
    "we": {"findings --severity info": ["1 finding here (1 info)"]},
}  # fmt: skip
ORDERS = {"brake": "200", "carrier away": "1002"}


@pytest.fixture(scope="module", params=NAMES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, World]]:
    """One installation after another, each made once."""
    with ExitStack() as stack:
        yield request.param, WORLDS[request.param](tmp_path_factory.mktemp("world"), stack)


def words_of(question: int, name: str, world: World) -> list[str]:
    folder = world.file.parent
    text = world.lab.yaml
    if name == "brake":  # the code that makes the ends is given another meaning
        text = text.replace(
            "uses: easypost,", "uses: easypost, codes: {tracker/delivered/delivered: {status: in_transit}},"
        )
    else:
        text = text.replace("mode: write}", "mode: write, policy: {preset: mirror, stuck_after: 1d}}")
    (folder / "new.yaml").write_text(text)
    asked = QUESTIONS[question].format(order=ORDERS.get(name, "1001"), store="shop", folder=folder)
    return asked.replace("--policy", "--mapping" if name == "brake" else "--policy").split()


def sentences(answer: str) -> list[str]:
    """Return the lines of an answer that are sentences: those before its first table."""
    lines = answer.splitlines()
    ends = [i for i, line in enumerate(lines) if not line.strip() or re.fullmatch(r"[a-z ]+ *", line)]
    return lines[: min(ends, default=len(lines))]


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_question_is_answered_as_it_is_there(world: tuple[str, World], question: int) -> None:
    name, installation = world
    code, holds, never = SAID[name][question]

    done = installation.ask(*words_of(question, name, installation))

    assert code is None or done.exit_code == code, done.output
    said = re.sub("the (shipping|order) status (?!is )", "", re.sub(r"\s+", " ", done.stdout))
    for part in holds:
        assert part in said, done.stdout
    for part in never:
        assert part not in said, done.stdout
    if code:  # and no answer of a trouble is the healthy one's
        assert SAID["healthy"][question][1][0] not in said
    assert "Traceback" not in done.output
    first = sentences(done.stdout)
    assert first, done.stdout
    for line in first:
        plain = re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'|tracker [^,;:)]*|/\S+|\(.*\)", "", line)
        assert not re.search(r"\b[a-z]+_[a-z_]+\b", plain), line  # words of ours are spoken
        assert not re.search(r"\bNone\b|\bnan\b|e[+-]\d\d|0000-|\b1 (orders|writes|parcels|scans|findings)\b", plain), (
            line
        )
    for at in re.findall(r"\b20\d\d-\d\d-\d\d\b", done.stdout):  # all clocks are one
        assert "2026-10-01" < at < "2026-12-15", done.stdout


def test_a_claim_is_proved_by_one_file(world: tuple[str, World]) -> None:
    name, installation = world
    pack = installation.file.parent / "pack.zip"

    done = installation.ask("evidence", ORDERS.get(name, "1001"), "-o", str(pack))

    assert (done.exit_code, "raw payloads" in done.output) == (0, True)
    assert {"evidence.json", "index.html", "SHA256SUMS"} <= set(zipfile.ZipFile(pack).namelist())


def test_what_else_an_operator_asks_there_is_answered_too(world: tuple[str, World]) -> None:
    name, installation = world
    for asked, parts in ASIDE.get(name, {}).items():
        said = re.sub(
            "the (shipping|order) status (?!is )", "", re.sub(r"\s+", " ", installation.ask(*asked.split()).stdout)
        )
        for part in parts:
            assert part in said, said
