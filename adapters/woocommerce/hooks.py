"""The hooks of a WooCommerce shop: made with our own secret, listed, switched on again."""

from __future__ import annotations

import hashlib
import hmac

from adapters.woocommerce.calls import Api, told_by
from adapters.woocommerce.reading import TOPICS
from tracker.domain.errors import Refused, Transient
from tracker.plugin.calls import Client, segment
from tracker.plugin.contracts import Secrets
from tracker.plugin.hooks import Hook
from tracker.plugin.payloads import mapping, text, word
from tracker.plugin.tracked import listed

PAGE, MOST_PAGES = 100, 20
NAME = "name"  # stands among a hook's headers: it must be as we want it, as those must
_PATH = "wc/v3/webhooks"


def wanted(address: str, secrets: Secrets) -> list[Hook]:
    """Return one hook a topic. Its name ends with eight digits that the secret makes: one of an older secret is mended.

    The secret itself is told to nobody who asks for a hook.
    """
    digits = (
        hmac.new(secrets[0].get_secret_value().encode(), b"trackwright", hashlib.sha256).hexdigest()[:8]
        if secrets
        else ""
    )
    return [Hook(topic, address, {NAME: f"Trackwright {topic} {digits}".strip()}) for topic in TOPICS]


def there(api: Api, client: Client) -> list[Hook]:
    """List all hooks of the shop, page by page. `disabled` is what five failures in a row make of one."""
    found: list[Hook] = []
    for page in range(1, MOST_PAGES + 1):
        params = {"per_page": str(PAGE), "page": str(page), "status": "all"}
        rows = listed(api.get(client, _PATH, params), Transient)
        for row in (mapping(one, "$[]") for one in rows):
            topic, ref = text(row.get("topic")), word(row.get("id"), "$.id")
            active = row.get("status") == "active"
            found.append(Hook(topic, text(row.get("delivery_url")), {NAME: text(row.get("name"))}, ref, active))
        if len(rows) < PAGE:
            break
    return found


def make(api: Api, client: Client, hook: Hook, secrets: Secrets) -> str:
    """Make a hook with our secret: without one the shop would derive one from its user's name."""
    if not secrets:
        raise Refused(
            "webhook_secrets is missing: a hook without a secret of ours would be signed by one that can be guessed"
        )
    body = {"topic": hook.topic, "delivery_url": hook.address, **_of(hook, secrets)}
    return word(told_by(api.write(client, "POST", _PATH, body)).get("id"), "$.id")


def mend(api: Api, client: Client, hook: Hook, secrets: Secrets) -> None:
    """Switch a hook on, with our name and secret; where it posts elsewhere it is made anew, and the old one deleted."""
    path = f"{_PATH}/{segment(hook.ref)}"
    after = told_by(api.write(client, "PUT", path, _of(hook, secrets)))
    if text(after.get("delivery_url")) != hook.address:
        make(api, client, hook, secrets)
        api.write(client, "DELETE", path, None, {"force": "true"})


def _of(hook: Hook, secrets: Secrets) -> dict[str, str]:
    secret = {"secret": secrets[0].get_secret_value()} if secrets else {}
    return {"name": hook.headers.get(NAME, hook.topic), "status": "active", **secret}
