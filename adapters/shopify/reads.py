"""The GraphQL documents that read, and how long a list each of them asks for.

Requested cost by the published rule (shopify.dev, GraphQL Admin rate limits, read 2026-11): an object is a point, a connection two and a
point for each node that may come; a plain list is counted like one, which is more than the rule says. One query may ask for 1,000 at most:
so a page holds few orders, each with short lists, and what an order holds beyond them is asked on, that order alone.
"""

from __future__ import annotations

PAGE = 8  # orders
PARTS, NUMBERS = (
    2,
    3,
)  # fulfilments of an order, numbers of each: plain lists, of which `fulfillmentsCount` tells the length of the first
MOST = 250  # of any list
CHUNK, CHUNK_NUMBERS = (
    12,
    10,
)  # fulfilments asked on at once, numbers of each: at half of what a query may cost, the bucket has it left

_INFO = "pageInfo { hasNextPage endCursor }"
_LINE = "id name quantity currentQuantity refundableQuantity unfulfilledQuantity requiresShipping isGiftCard"
_LINES = f"lineItems(first: %s) {{ {_INFO} nodes {{ {_LINE} }} }}"
_PART = (
    "id status createdAt trackingInfo(first: %s) { company number }"
    " events(first: 1, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } }"
    f" fulfillmentLineItems(first: %s) {{ {_INFO} nodes {{ quantity lineItem {{ id }} }} }}"
)
_HEAD = "id status fulfillAt deliveryMethod { methodType } assignedLocation { name } fulfillmentHolds { reason }"
_ROUTE_LINE = "remainingQuantity totalQuantity lineItem { id }"
_ROUTE = f"{_HEAD} lineItems(first: %s) {{ {_INFO} nodes {{ {_ROUTE_LINE} }} }}"
# `shippingAddress`: a country, and what Shopify's own check says of the address; never a name, a street or a phone
_ADDRESS = "shippingAddress { countryCodeV2 validationResultSummary }"
_FACTS = (
    "id name createdAt updatedAt cancelledAt cancelReason closedAt test tags customerLocale sourceName paymentGatewayNames"
    " requiresShipping displayFulfillmentStatus displayFinancialStatus risk { recommendation } shippingLine { title }"
)
# `shown`: the metafield of the policy's `status_field`, where it names one. What the app may not see can be left out: see LEFT_OUT.
FIELDS = (
    f" {_FACTS} shown: metafield(namespace: $namespace, key: $key) @include(if: $named) {{ value }}"
    f" {_ADDRESS.replace(' {', ' @include(if: $addressed) {', 1)} fulfillmentsCount {{ count }} {_LINES % 10}"
    f" fulfillments(first: {PARTS}) {{ {_PART % (NUMBERS, 5)} }}"
    f" fulfillmentOrders(first: 3) @include(if: $routed) {{ {_INFO} nodes {{ {_ROUTE % 5} }} }}"
    " events(first: 8, reverse: true, sortKey: ID) @include(if: $acted)"
    " { nodes { action createdAt attributeToApp attributeToUser } }"
)
_MAY = "$namespace: String, $key: String!, $named: Boolean!, $addressed: Boolean!, $routed: Boolean!, $acted: Boolean!"
ORDERS = (
    f"query Orders($first: Int!, $after: String, $q: String!, {_MAY}) {{"
    f" orders(first: $first, after: $after, query: $q, sortKey: UPDATED_AT) {{ {_INFO} nodes {{{FIELDS} }} }} }}"
)
READ = f"query Read($ids: [ID!]!, {_MAY}) {{ nodes(ids: $ids) {{ ... on Order {{{FIELDS} }} }} }}"
# Fields that need a right of their own, by the variable that leaves them out.
LEFT_OUT = {"fulfillmentOrders": "routed", "shippingAddress": "addressed", "events": "acted"}

# What an order holds beyond its first lists
_ID = "query %s($id: ID!) {"
_AFTER = "query %s($id: ID!, $after: String) {"
LINES = f"{_AFTER % 'Lines'} order(id: $id) {{ id {_LINES.replace('%s', f'{MOST}, after: $after')} }} }}"
ROUTES = (
    f"{_AFTER % 'Routes'} order(id: $id) {{ id fulfillmentOrders(first: 4, after: $after)"
    f" {{ {_INFO} nodes {{ {_ROUTE % 50} }} }} }} }}"
)
ROUTE_LINES = (
    f"{_AFTER % 'RouteLines'} fulfillmentOrder(id: $id) {{ id lineItems(first: {MOST}, after: $after)"
    f" {{ {_INFO} nodes {{ {_ROUTE_LINE} }} }} }} }}"
)
PART_IDS = f"{_ID % 'PartIds'} order(id: $id) {{ id fulfillments(first: {MOST}) {{ id }} }} }}"
PARTS_BY_ID = f"query Parts($ids: [ID!]!) {{ parts: nodes(ids: $ids) {{ ... on Fulfillment {{ {_PART % (CHUNK_NUMBERS, 10)} }} }} }}"
PART = (
    f"{_AFTER % 'Part'} fulfillment(id: $id) {{ id trackingInfo(first: {MOST}) {{ company number }}"
    f" fulfillmentLineItems(first: 100, after: $after) {{ {_INFO} nodes {{ quantity lineItem {{ id }} }} }} }} }}"
)

# One operation reads all open orders (shopify.dev, bulk operations, read 2026-11): edges only, five connections at most, two levels, none
# below a plain list: so no events of fulfilments, and no lines of theirs; no variables, so the metafield stands in it. How many a connection
# has is ignored, but not in a plain list.
BULK_FIELD = 'shown: metafield(namespace: "%s", key: "%s") { value }'
BULK = (
    '{ orders(query: "status:open%s"%s) { edges { node { '
    f"{_FACTS} {_ADDRESS} %s fulfillmentsCount {{ count }}"
    " fulfillments(first: 250) { id status createdAt displayStatus deliveredAt totalQuantity trackingInfo(first: 250) { company number } }"
    f" lineItems {{ edges {{ node {{ {_LINE} }} }} }}"
    f" fulfillmentOrders {{ edges {{ node {{ {_HEAD} lineItems {{ edges {{ node {{ id {_ROUTE_LINE} }} }} }} }} }} }} }} }} }} }}"
)


def bulk(span: str = "", field: str = "") -> str:
    """Return the operation that reads the open orders, or those placed in a `span`; `field` is read beside, as BULK_FIELD says it."""
    return BULK % (span, ", sortKey: CREATED_AT" if span else "", field)


START = (
    "mutation Start($q: String!) { bulkOperationRunQuery(query: $q, groupObjects: false) {"
    " bulkOperation { id createdAt } userErrors { code field message } } }"
)
OPERATION = "query Operation($id: ID!) { bulkOperation(id: $id) { id status errorCode objectCount rootObjectCount fileSize url } }"
RUNNING = (
    'query Running { bulkOperations(first: 20, query: "status:running operation_type:query", sortKey: CREATED_AT,'
    " reverse: true) { nodes { id query createdAt } } }"
)
