"""Magento Open Source and Adobe Commerce (2.4.6 to 2.4.9, and as a Cloud Service), by REST.

Sources, read 2026-11: the official REST schemas (every request validates against 2.4.6, 2.4.9 and the Cloud Service's in tests/contract);
AdobeDocs on authentication, filtered responses, I/O Events and webhooks; Magento's source (OrderService, CanShip, Handler/State).

The *state* of an order (new, processing, complete ...) drives Magento; a *status* is a word of the merchant's that belongs to a state. So
the state decides what an order is, and what the merchant's `statuses` say of a word fills in. `complete` is shipped and invoiced, never delivered.
A status is written by a comment, and only one that belongs to the state; the merchant makes `shipped` and `delivered` and assigns them to the
state *complete*. Orders are never saved as a whole (that changed ids and lines in several versions), nothing is shipped, held or cancelled.

Not verified with a live shop, so told or settings: that times are UTC (`zone`); that a new track touches its shipment's `updated_at` (the
admin's does, one of REST may not: `late_tracks_hours`); how batches of I/O events are wrapped (both ways are read).
"""

from adapters.magento.shop import Magento as Magento
