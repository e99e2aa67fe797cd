"""Free texts that may name a person."""

from __future__ import annotations

from tracker.domain.personal import FREE_TEXTS, impersonal


def test_facts_are_handed_on_without_the_texts_that_may_name_a_person() -> None:
    told = {
        "order": "#1001", "scans": [{"code": "D/011", "text": "left with Mr Smith", "at": 1}, ({"by": "ana"},)],
        "proof": {"signed": True, "signed_by": "JONES"},
    }  # fmt: skip

    assert impersonal(told) == {
        "order": "#1001",
        "scans": [{"code": "D/011", "at": 1}, [{}]],
        "proof": {"signed": True},
    }
    assert "code" not in FREE_TEXTS
