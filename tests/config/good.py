"""A configuration in which nothing is wrong, and what is wrong with another."""

from __future__ import annotations

import pytest

from tracker.config.load import load_text
from tracker.domain.errors import ConfigError

GOOD = """
accounts:
  ups:
    uses: ups
    client_id: me
    client_secret: ${env:SECRET}
    webhook_secrets: ["${env:SECRET}", "${env:OLD}"]
    webhook_token: ${env:TOKEN}
    codes:
      status/999: {status: in_transit}
      no/slash/999: {reason: moving}
stores:
  shop: {uses: shopify, shop: a.myshopify.com, access_token: "${env:SECRET}", policy: {stuck_after: 2d}}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_text(text, "t.yaml")
    return list(error.value.problems)
