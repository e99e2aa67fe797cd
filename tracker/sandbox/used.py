"""Who takes part in a scenario: the accounts of carriers, and the stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from tracker.domain.vocabulary import OrderStatus
from tracker.sandbox import find
from tracker.sandbox.parts import Part, Span

_OTHERS: dict[find.Kind, str] = {
    "carrier": ", which have a fake server; another one's calls are described in `serves`",
    "shop": ", which have a fake server; another one names its own in the entry-point group tracker.sandboxes",
}


def _named(kind: find.Kind) -> Callable[[Any, ValidationInfo], Any]:
    """Make the check of a word that names a plugin which has a fake server, or whose calls the scenario describes."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if info.data.get("serves") is None and value not in (known := find.fake_names(kind)):
            raise ValueError(f"Input should be {', '.join(map(repr, known[:-1]))} or {known[-1]!r}{_OTHERS[kind]}")
        return value

    return check


CarrierName = Annotated[
    str,
    BeforeValidator(_named("carrier")),
    Field(json_schema_extra=lambda s: s.update(enum=find.fake_names("carrier"))),
]
ShopName = Annotated[
    str, BeforeValidator(_named("shop")), Field(json_schema_extra=lambda s: s.update(enum=find.fake_names("shop")))
]


class Call(Part):
    """A call about numbers that a carrier answers, where the scenario describes them."""

    path: str = Field(pattern=r"^/", description="Such as /v1/track/{number}.")
    method: Literal["GET", "POST"] = "GET"
    number: str = Field(
        "path.number",
        pattern=r"^(path\.number|(query|body)\..+)$",
        description="Where numbers stand, in the path or elsewhere: query.NAME, body.items.*.number.",
    )
    batch: int = Field(1, ge=1, description="The most numbers of a call.")
    into: str = Field(
        "", description="Where an answer lists those about its numbers, such as output.results; nothing: it is the one."
    )
    unknown: Any = Field({}, description="The answer about a number that was never scanned; {number} stands for it.")
    unknown_status: int = Field(200, ge=200, le=599, description="Its HTTP status, where a call asks for one number.")

    @model_validator(mode="after")
    def _fits(self) -> Call:
        if ("{number}" in self.path) is not (self.number == "path.number"):
            raise ValueError("the number stands in the path as {number}, or `number` says where")
        if self.batch > 1 and not self.into:
            raise ValueError("several numbers need a list: `into` says where")
        return self


class Serves(Part):
    """What a carrier without a fake server of its own answers to. Any other call is refused, and a difference of the play."""

    settings: dict[str, Any] = Field(
        {}, description="Its settings in the YAML; {url} and {key} stand for its address and its key."
    )
    entry: str = Field(
        "",
        description="A file beside the scenario whose one entry of this name has the settings; `settings` beat them, and each secret is its key.",
    )
    hook: str = Field(
        "", description="The header that proves its webhooks by the secret itself; nothing: it sends none."
    )
    headers: dict[str, str] = Field({}, description="What each call must carry; the right key is `right`.")
    token: str = Field(
        "", pattern=r"^(/.*)?$", description="Where tokens are handed out for client id sandbox and the key."
    )
    calls: tuple[Call, ...] = Field(
        (), description="None: it tells by files, which a step `file` puts into its folder."
    )


class Allowed(Part):
    """How many requests an account may make in any span; the play fails where the server's own log holds more."""

    calls: int = Field(ge=1)
    per: Span


class CarrierUsed(Part):
    """A carrier account of the play. `webhooks: false`: it answers polls only."""

    serves: Serves | None = Field(
        None, description="Its calls, where it has no fake server of its own (or another is wanted)."
    )
    uses: CarrierName
    webhooks: bool = True
    secret: Literal["right", "wrong"] = Field("right", description="wrong: the credentials in our YAML are wrong.")
    settings: dict[str, Any] = Field({}, description="More of its entry in our YAML, such as cadence.")
    budget: Allowed | None = Field(None, description="Its budget, which must hold by the server's own log.")


class StoreUsed(Part):
    """A store of the play."""

    uses: ShopName = "shopify"
    words: Literal["kingston", "kartrocket", "marketplace-guide", "own"] = Field(
        "own", description="rest only: the words of its statuses; own are ours."
    )
    statuses: dict[str, OrderStatus] = Field(
        {}, description="rest and woocommerce only: more words, as the YAML maps them."
    )
    tracking: tuple[Literal["fulfillments", "shipment_tracking", "ast"], ...] = Field(
        ("fulfillments",), description="woocommerce only: where this shop keeps tracking."
    )
    grants: int | None = Field(
        None,
        ge=1,
        description="What the platform grants: shopify, the points a second that refill its bucket, which holds twenty times as many (100);"
        " bigcommerce, calls in 30 s (450); any other, calls a minute that its hoster lets through (no limit).",
    )
    webhooks: bool = Field(True, description="false: the shop sends no hooks; its sweeps tell.")
    mode: Literal["observe", "write"] = "write"
    policy: dict[str, Any] = Field({}, description="preset and overrides, as in the YAML.")
    settings: dict[str, Any] = Field({}, description="More settings of the plugin, such as completed_is_delivered.")
    entry: str = Field(
        "", description="A file beside the scenario whose one entry of this name has the settings, as in `serves`."
    )
    sweep_every: str = "1h"
    writes_per_hour: int = 1000
    secret: Literal["right", "wrong"] = "right"
    budget: Allowed | None = Field(None, description="Its budget, which must hold by the server's own log.")
    existing: bool = Field(False, description="Its first orders are there before the store is connected.")
