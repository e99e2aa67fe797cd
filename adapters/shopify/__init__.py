"""Shopify Admin GraphQL, version 2026-04.

Sources: the Admin schema 2026-04 (every operation in `queries` validates against it in tests/contract), shopify.dev pages on
webhooks, rate limits and tokens, read 2026-11.

Shopify's order status cannot be written; what can be shown is one *fulfilment event* a shipping status, and where the policy names
them a metafield (`metafieldsSet`) and a tag (`tagsAdd`, `tagsRemove`; both need `write_orders`). Events can be neither edited nor
deleted, so a doubtful DELIVERED is never sent. Webhook bodies may be stale: they are change notices.
"""

from adapters.shopify.shop import Shopify as Shopify
