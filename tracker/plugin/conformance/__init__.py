"""The suite every plugin gets without being named.

A package of plugins of its own subscribes with two lines:

```python
from tracker.plugin.conformance import for_carrier
TestAcme = for_carrier("acme_tracking.acme", fixtures=Path(__file__).parent / "fixtures" / "acme")
```

Fixtures are `<case>.<webhook|poll|read|sweep|file>.<ending>` beside `<case>.<kind>.expected.json`, written by hand from the
vendor's documentation; `SOURCES.md` says where each is from. `<case>.<kind>.parts.json` is a list: each of its documents is
one part of the payload. A fixture whose name ends with `.xml` is broken as XML is. A pair `<case>.webhook.*` and `<case>.poll.*` whose name begins with `same-` must hold one scan with
one fingerprint. A case whose name ends with `-three` holds three parcels or orders (where the format can hold several) of
three scans or lines each: of such a list one element is broken in every way, and the others must tell what they told. Where
that is no JSON, `form=` says how its documents are read into a tree and printed again (`Form`).
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in ("given", "shown", "addresses", "shops", "suite")))

from tracker.plugin.conformance.broken import Form
from tracker.plugin.conformance.given import (
    AT,
    BAD_BODIES,
    KINDS,
    TOKEN,
    Everywhere,
    Recorder,
    cases,
    example_settings,
    plugin_of,
    read_all,
)
from tracker.plugin.conformance.shown import go_on
from tracker.plugin.conformance.suite import CarrierSuite, PlatformSuite, for_carrier, for_platform

__all__ = [
    "AT", "BAD_BODIES", "KINDS", "TOKEN", "CarrierSuite", "Everywhere", "Form", "PlatformSuite", "Recorder", "cases",
    "example_settings", "for_carrier", "for_platform", "go_on", "plugin_of", "read_all",
]  # fmt: skip
