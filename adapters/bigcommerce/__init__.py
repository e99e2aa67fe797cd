"""BigCommerce: orders V2, metafields and refunds V3, and thin V3 webhooks.

Sources: the official contracts of orders V2 and V3 and of webhooks V3 (requests validate against them in tests/contract), the webhook pages
and samples, rate-limit and authentication pages of docs.bigcommerce.com, support.bigcommerce.com on notifications, read 2026-11.

A status is an id; its label may be renamed. There is no Delivered: 10 Completed is it only where the store says so
(`completed_is_delivered`). The API accepts any id after any other, so we guard: 11, 9, 8 -> 3 or 2; 3 -> 2; 2 -> 10.
An order is read in parts (order, products, shipments, and where it takes them refunds and a metafield); a sweep lists ids and
gives a change notice for each. Archived (`is_deleted`) is gone.
"""

from adapters.bigcommerce.shop import BigCommerce as BigCommerce
