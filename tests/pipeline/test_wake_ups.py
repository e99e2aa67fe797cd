"""Who is woken finds what he is woken for: a wake-up comes after the commit of what it tells of."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import USPS, Make, tracker_body
from tracker.store import tables as t
from tracker.store.engine import Store


def test_what_is_to_be_done_after_a_commit_is_done_after_it_and_never_after_a_rollback(store: Store) -> None:
    done: list[str] = []
    with store.write():
        store.when_committed(lambda: done.append("written"))
        assert done == []
    assert done == ["written"]
    with pytest.raises(ZeroDivisionError), store.write(first=True):
        store.when_committed(lambda: done.append("never"))
        raise ZeroDivisionError
    store.when_committed(lambda: done.append("at once"))

    assert done == ["written", "at once"]


def test_whoever_is_woken_by_a_batch_of_payloads_sees_what_came_of_it(make_lab: Make, monkeypatch: Any) -> None:
    lab = make_lab()
    lab.work()
    lab.order("#1001", USPS)
    while lab.shop.outgoing:
        lab.post(lab.shop.outgoing.pop(0))
    lab.post_raw("easypost", tracker_body(USPS))
    seen: list[tuple[str, int]] = []
    monkeypatch.setattr(lab.notifier, "notify", lambda queue: seen.append((queue, len(lab.rows(t.change_notices)))))
    lab.work("ingest")

    assert ("poll", 1) in seen
    assert ("poll", 0) not in seen
