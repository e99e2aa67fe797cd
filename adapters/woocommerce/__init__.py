"""WooCommerce (REST API wc/v3 of a WordPress site, WooCommerce 5.8 and later).

Sources: woocommerce/woocommerce-rest-api-docs (wc/v3), the plugin's own source (class-wc-webhook, the controllers of order fulfilments,
OrderStatus) and issues, the REST chapters of Shipment Tracking (woocommerce.com) and AST (docs.zorem.com), read 2026-11. Not verified with
a live shop, and settings therefore: whether `status=any` lists every registered status (`swept_statuses`), which namespace a tracking
plugin answers under where its index is closed (`tracking`), how AST prints dates (`date_order`), what other plugins call their meta keys
(`number_key`, `carrier_key`). `needs_processing`, by which an order of nothing but virtual downloads is known, came with WooCommerce 6.6.

Three places hold tracking: WooCommerce's own order fulfilments (a feature that is off by default: 404 rest_no_route), and the plugins
Shipment Tracking and AST, told apart by the namespaces of `/wp-json/`. Which of them a shop has is found once a day; `tracker check`
tells. A fourth is any meta key that the merchant names. Only times with `_gmt` are read: the others are the site's own.

A status follows no rules here: any registered one may be set after any other, so we guard. `completed` mails the customer and may capture
a payment: it waits until the policy names it (`side_effects`). No hook is sent twice, and five failures switch it off: they are audited.
"""

from adapters.woocommerce.shop import WooCommerce as WooCommerce
