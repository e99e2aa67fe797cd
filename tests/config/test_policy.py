"""Policies as data: presets, overrides, and what can never be meant, refused with file:line and the choices."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tracker.config.coverage import coverage
from tracker.config.load import load_text
from tracker.config.presets import policy_values, presets
from tracker.domain.errors import ConfigError
from tracker.domain.policy import Policy
from tracker.domain.vocabulary import FindingKind, OrderStatus, Owner, ShippingStatus

O = OrderStatus


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S", "x" * 30)


def load(policy: str, words: str = "own") -> Policy:
    named = "" if words == "own" else f"words: {words}, "
    return (
        load_text(
            f"stores:\n  a: {{uses: rest, base_url: 'https://x.example', {named}api_token: '${{env:S}}', policy: {policy}}}",
            "t.yaml",
        )
        .accounts["a"]
        .policy
    )


def problems(policy: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(policy)
    return caught.value.problems


@pytest.mark.parametrize("preset", presets())
def test_every_preset_is_a_policy_that_contradicts_nothing(preset: str) -> None:
    found = load(f"{{preset: {preset}}}")

    assert found.name == preset
    assert policy_values(found)["preset"] == preset
    assert O.PROCESSING not in {s for statuses in found.writes.values() for s in statuses}


def test_a_mapping_is_overridden_entry_by_entry_and_the_rest_as_a_whole() -> None:
    found = load(
        "{preset: marketplace-guide, deadlines: {processing: off}, notices: [delayed], tracking: {seller: warned}}"
    )

    assert [clock.name for clock in found.deadlines] == ["confirm", "processing days", "shipping days"]
    assert found.tracking == {Owner.COURIER: "required", Owner.SELLER: "warned"}
    assert [str(n) for n in found.notices] == ["delayed"]


def test_a_calendar_is_expanded_into_dates() -> None:
    calendar = load(
        "{calendar: {zone: Europe/Berlin, country: DE, region: BE, closed: ['2026-12-24'], open: ['2026-03-08'], weekend: [sunday]}}"
    ).calendar

    assert date(2026, 12, 25) in calendar.holidays
    assert date(2026, 12, 24) in calendar.holidays
    assert date(2026, 3, 8) not in calendar.holidays  # Women's Day of Berlin, on which this store works
    assert calendar.weekend == frozenset({6})


def test_two_calendars_are_two_policies() -> None:
    one, other = (policy_values(load(f"{{calendar: {{country: {c}}}}}")) for c in ("US", "DE"))

    assert one["calendar"] != other["calendar"]


def test_ahead_and_clocks_can_be_switched_off_and_on() -> None:
    assert load("{preset: kingston-courier, ahead_after: off}").ahead_after is None
    assert load("{preset: kingston-courier, ahead_after: 2d}").ahead_after == timedelta(days=2)
    assert load("{checks: [unpaid_shipped]}").checks == {FindingKind.UNPAID_SHIPPED}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("{meens: {}}", "t.yaml:2:82: stores.a.policy.meens: unknown key; did you mean 'means'?"),
        ("{means: {courier: {delivered: procesing}}}", "means.courier.delivered: Input should be 'awaiting_confirmation', 'confirmed'"),
        ("{means: {courier: {delivered: processing}}}", "impossible transition: a scan never sets processing; one of partially_shipped"),
        ("{means: {courier: {pre_transit: shipped}}}", "impossible transition: pre_transit is no custody and moves no order"),
        ("{means: {courier: {in_transit: delivered}}}", "impossible transition: only delivered can mean delivered"),
        ("{means: {courier: {returned: shipped}}}", "impossible transition: returned is never shipped"),
        ("{means: {courier: {in_transit: cancelled}}}", "impossible transition: a scan never sets cancelled"),
        ("{means: {courier: {in_transit: shipped}}, writes: {courier: [delivered]}}", "contradiction: delivered is written, and nothing under means says it"),
        ("{ownership: [{name: a, owner: seller, tag: x}, {name: a, owner: seller, tag: y}]}", "contradiction: the rule name 'a' is used twice"),
        ("{ownership: [{name: a, owner: seller, tag: x}, {name: b, owner: courier, tag: X}]}", "contradiction: rule 'a' has the same conditions and names another owner"),
        ("{ownership: [{name: a, owner: seller, tag: x}, {name: b, owner: seller, tag: x}]}", "has the same conditions and says the same"),
        ("{ownership: [{name: a, owner: seller}]}", "names no condition: use otherwise: for the rest"),
        ("{ownership: [{name: a, owner: nobody, tag: x}]}", "ownership.0.owner: Input should be 'platform'"),
        ("{restore_from: [system]}", "contradiction: system may set a status and is restored too"),
        ("{restore_from: [unknown]}", "an unknown actor is never restored"),
        ("{cancel_closes: {platform: on_hold}}", "cancel_closes.platform: on_hold is no step of an order: one of awaiting_confirmation, confirmed"),
        ("{deadlines: {x: {from: shipped, until: confirmed, breach: 1h}}}", "impossible transition: shipped does not come before confirmed"),
        ("{deadlines: {x: {from: placed, until: delivered, breach: 1h}}}", "a clock ends at one of confirmed, processing, shipped"),
        ("{deadlines: {x: {from: ordered, until: confirmed, breach: 1h}}}", "must be placed or one of awaiting_confirmation"),
        ("{deadlines: {x: {from: placed, until: confirmed}}}", "needs warn or breach"),
        ("{deadlines: {x: {from: placed, until: confirmed, warn: 2h, breach: 1h}}}", "contradiction: the warning comes after the breach"),
        ("{deadlines: {x: {from: placed, until: confirmed, warn: 3 business days, breach: 1 business day}}}", "contradiction: the warning comes after the breach"),
        ("{deadlines: {x: {from: placed, until: confirmed, breach: soon}}}", "must be a duration such as 24h, or business days"),
        ("{calendar: {zone: Europe/Berln}}", "no time zone 'Europe/Berln': did you mean Europe/Berlin"),
        ("{calendar: {country: XX}}", "no calendar for 'XX': ISO 3166 alpha-2, such as"),
        ("{calendar: {country: DE, region: XX}}", "DE has no region 'XX': BB, BE"),
        ("{calendar: {weekend: [caturday]}}", "must be some of monday, tuesday"),
        ("{checks: [unpayed]}", "checks.0: Input should be"),
        ("{silence: [{name: a, lane: usa-de}]}", "silence.0.lane"),
        ("{preset: [a]}", "preset"),
    ],
)  # fmt: skip
def test_what_can_never_be_meant_is_refused_with_its_place_and_the_choices(policy: str, said: str) -> None:
    found = problems(policy)

    assert any(said in problem for problem in found), found
    assert all(problem.startswith("t.yaml:2:") for problem in found), found


PRESET = "stores.a.policy.preset: no preset 'mirorr': one of"
PLACED = "deadlines: {x: {from: placed, until: delivered, breach: 1h}}"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("policy: {preset: mirorr}", [PRESET]),
        ("policy: {preset: mirorr, stuck_after: soon}", [PRESET, "policy.stuck_after: must be a duration"]),
        ("policy: {preset: mirorr, nonsense: 1}", [PRESET, "policy.nonsense: unknown key"]),
        ("policy: {preset: mirorr, means: {courier: {delivered: processing}}}", [PRESET]),  # against what, nobody knows
        ("policy: {preset: mirorr}, nonsense: 1, mode: x", [PRESET, "a.nonsense: unknown key", "a.mode: Input should be"]),
        (f"policy: {{{PLACED}}}, nonsense: 1", ["a.nonsense: unknown key", "a clock ends at one of"]),
        (f"policy: {{{PLACED}}}, mode: x", ["a.mode: Input should be", "a clock ends at one of"]),
        ("policy: {calendar: {zone: Mars}}, nonsense: 1", ["a.nonsense: unknown key", "no time zone 'Mars'"]),
        ("policy: {restore_from: [unknown]}, statuses: {a: b}", ["statuses.a: Input should be", "an unknown actor is never"]),
        ("policy: {stuck_after: soon, restore_from: [unknown]}", ["policy.stuck_after: must be a duration"]),
        ("policy: 7, nonsense: 1", ["a.policy: Input should be", "a.nonsense: unknown key"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_policy_hides_behind_nothing_else(entry: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            f"stores: {{a: {{uses: rest, base_url: 'https://x.example', api_token: '${{env:S}}', {entry}}}}}", "t.yaml"
        )

    found = caught.value.problems
    assert len(found) == len(said), found
    assert all(any(one in problem for problem in found) for one in said), found
    assert "did you mean 'mirror'?" in "".join(found) or PRESET not in said


def test_a_code_that_is_none_hides_behind_no_other_key_of_its_account() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            "accounts: {a: {uses: ups, client_id: x, client_secret: '${env:S}', nonsense: 1, codes: {x: {}}}}", "t.yaml"
        )

    assert len(caught.value.problems) == 2, caught.value.problems
    assert "codes.x: must be space/code" in "".join(caught.value.problems)


def test_a_status_word_that_maps_to_nothing_of_ours_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(
            "stores: {a: {uses: rest, base_url: 'https://x.example', api_token: '${env:S}', statuses: {Versandt: sent}}}",
            "t.yaml",
        )

    assert (
        "stores.a.statuses.Versandt: Input should be 'awaiting_confirmation', 'confirmed'" in caught.value.problems[0]
    )


def test_the_words_of_a_platform_are_part_of_its_policy() -> None:
    found = load("{preset: kartrocket-autopilot}", words="kartrocket")

    assert found.order_words[O.SHIPPED] == "Shipped"
    assert O.OUT_FOR_DELIVERY not in found.order_words
    assert found.means[Owner.COURIER][ShippingStatus.DELIVERED] is O.DELIVERED


def test_the_api_token_must_be_long_and_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHORT", "abc")
    for text, said in (
        ("api: {token: '${env:SHORT}'}", "22 or more random"),
        ("api: {token: abc}", "must not stand in the file"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_text(text)
        assert said in caught.value.problems[0]


def test_a_field_is_named_only_where_the_platform_has_such() -> None:
    assert problems("{status_field: shipping_status}") == (
        "t.yaml:2:82: stores.a.policy.status_field: this platform has no field of an order that is written",
    )
    assert "status_field" in problems("{status_field: 'two words'}")[0]
    told = load_text(
        "stores:\n  a: {uses: saleor, base_url: 'https://x.example', app_token: '${env:S}', policy: {status_field: shipping.status}}"
    ).accounts["a"]
    assert told.policy.status_field == told.platform.status_field == "shipping.status"
    assert policy_values(told.policy)["status_field"] == "shipping.status"


def test_what_a_tag_begins_with_is_named_only_where_the_platform_has_tags() -> None:
    assert problems("{status_tag: shipping}") == (
        "t.yaml:2:82: stores.a.policy.status_tag: this platform has no tags of an order that are written",
    )
    for odd in (
        "'a, b'",
        "'shipping:'",
        "a-prefix-of-20-letters",
    ):  # a comma parts tags; a tag has 40 characters at most
        assert "status_tag" in problems(f"{{status_tag: {odd}}}")[0]
    told = load_text(
        "stores:\n  a: {uses: shopify, shop: x.myshopify.com, access_token: '${env:S}', policy: {status_tag: shipping, status_field: a.b}}"
    ).accounts["a"]
    assert (told.policy.status_tag, told.platform.status_field) == ("shipping", "a.b")


def test_what_is_shown_in_a_field_and_a_tag_is_told_under_writes() -> None:
    entry = "uses: shopify, shop: x.myshopify.com, access_token: '${env:S}'"
    config = load_text(f"stores:\n  a: {{{entry}, mode: write, policy: {{status_tag: shipping, status_field: a.b}}}}")
    assert (
        coverage(config)["stores"][0]["writes"]
        == "shipping status, field a.b, tag shipping:..., notes, corrected numbers"
    )
