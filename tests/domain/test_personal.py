"""Free texts that may name a person."""

from __future__ import annotations

from tracker.domain.personal import ERASED, FREE_TEXTS, erased, impersonal


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


def test_what_is_erased_keeps_its_shape_and_what_names_nobody() -> None:
    told = {
        "code": "D",
        "text": "left with Mr Smith",
        "note": "",
        "rows": [{"by": "ana", "at": 3}, ("x", {"said": "no"})],
    }

    assert erased(told) == {
        "code": "D", "text": ERASED, "note": "", "rows": [{"by": ERASED, "at": 3}, ["x", {"said": ERASED}]],
    }  # fmt: skip
