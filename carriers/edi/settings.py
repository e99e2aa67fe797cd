"""What the YAML says of a trading partner."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, field_validator

from tracker.plugin import contracts

Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda v: (v,) if isinstance(v, str) else v, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]


class Settings(contracts.Settings):
    """The messages of one trading partner.

    `carrier` is whose parcels they tell of; left out, X12 names it by its SCAC (B1003). `x12_numbers` and `edifact_numbers`
    say where the tracking number stands, the first that is there: qualifiers of L11 (2I, 08, CN, ...), B1001 and MAN; GIN (the
    packages), CNI (the consignment) and qualifiers of RFF. `zone` counts for times that say none and whose place says none.
    `categories` of an EDIFACT status (9015) that tell of transport; older EANCOM partners send 6 or 7. A status of
    another one is a scan of the code `STS-9015/<category>`: it moves nothing, and 6, 7 and `none` are UNKNOWN.
    """

    carrier: str = Field("", max_length=40)
    x12_numbers: Names = ("2I", "08", "CN", "B1001", "MAN")
    edifact_numbers: Names = ("GIN", "CNI", "CN")
    zone: str = "UTC"
    categories: Names = ("1",)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, KeyError, OSError):
            raise ValueError(f"no time zone {name!r:.40}: such as America/Chicago") from None
        return name
