"""The GraphQL documents that we send, and how long a list each of them asks for."""

from __future__ import annotations

PAGE = 10
MOST = (20, 100, 250)  # fulfilments of an order: at first, and asked on where that many came; it is no list of pages
FULFILLMENTS = """
  fulfillments(first: %s) {
    id status createdAt
    trackingInfo(first: %s) { company number }
    events(first: 1, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } }
  }
"""
# `shown`: the metafield of the policy's `status_field`, where it names one
FIELDS = (
    " id name createdAt updatedAt cancelledAt displayFulfillmentStatus displayFinancialStatus tags"
    " shown: metafield(namespace: $namespace, key: $key) @include(if: $named) { value }"
) + FULFILLMENTS % (MOST[0], MOST[0])
NAMED = "$namespace: String, $key: String!, $named: Boolean!"
ORDERS = (
    f"query Orders($first: Int!, $after: String, $q: String!, {NAMED}) {{"
    " orders(first: $first, after: $after, query: $q, sortKey: UPDATED_AT) {"
    " pageInfo { hasNextPage endCursor } nodes {" + FIELDS + "} } }"
)
# One operation reads all open orders (shopify.dev, bulk operations, read 2026-11): five connections at most and none below a plain list, so
# no events of fulfilments; no variables, so the metafield stands in it (%s). How many a list has is ignored, but not in a plain one.
BULK = (
    '{ orders(query: "status:open") { edges { node { id name createdAt updatedAt cancelledAt displayFulfillmentStatus'
    " displayFinancialStatus tags %s fulfillments(first: 250) { id status createdAt displayStatus deliveredAt"
    " trackingInfo(first: 250) { company number } }"
    " lineItems { edges { node { id sku quantity currentQuantity requiresShipping } } } } } } }"
)
BULK_FIELD = 'shown: metafield(namespace: "%s", key: "%s") { value }'
START = (
    "mutation Start($q: String!) { bulkOperationRunQuery(query: $q, groupObjects: false) {"
    " bulkOperation { id createdAt } userErrors { code field message } } }"
)
OPERATION = "query Operation($id: ID!) { bulkOperation(id: $id) { id status errorCode objectCount fileSize url } }"
RUNNING = (
    'query Running { bulkOperations(first: 20, query: "status:running operation_type:query", sortKey: CREATED_AT,'
    " reverse: true) { nodes { id query createdAt } } }"
)
READ = f"query Read($ids: [ID!]!, {NAMED}) {{ nodes(ids: $ids) {{ ... on Order {{" + FIELDS + "} } }"
WHOLE = "query Whole($id: ID!, $most: Int!) { order(id: $id) { id" + FULFILLMENTS % ("$most", "$most") + "} }"
SHOP = "query Shop { shop { name } currentAppInstallation { accessScopes { handle } } }"
EVENTS = (
    "query Events($id: ID!) { fulfillment(id: $id) { id status"
    " events(first: 100, reverse: true, sortKey: HAPPENED_AT) { nodes { id status happenedAt } } } }"
)
CREATE = (
    "mutation Create($e: FulfillmentEventInput!) { fulfillmentEventCreate(fulfillmentEvent: $e) {"
    " fulfillmentEvent { id status happenedAt } userErrors { field message } } }"
)
_HOOK = "webhookSubscription { id } userErrors { field message } } }"
HOOKS = (
    "query Hooks($first: Int!, $after: String) { webhookSubscriptions(first: $first, after: $after) {"
    " pageInfo { hasNextPage endCursor }"
    " nodes { id topic uri format filter includeFields apiVersion { handle } } } }"
)
MAKE_HOOK = (
    "mutation MakeHook($topic: WebhookSubscriptionTopic!, $w: WebhookSubscriptionInput!) {"
    " webhookSubscriptionCreate(topic: $topic, webhookSubscription: $w) { " + _HOOK
)
MEND_HOOK = (
    "mutation MendHook($id: ID!, $w: WebhookSubscriptionInput!) {"
    " webhookSubscriptionUpdate(id: $id, webhookSubscription: $w) { " + _HOOK
)
TRACKING = "query Tracking($id: ID!, $most: Int!) { fulfillment(id: $id) { id status trackingInfo(first: $most) { company number url } } }"
RETRACK = (
    "mutation Retrack($id: ID!, $t: FulfillmentTrackingInput!, $notify: Boolean!, $most: Int!) {"
    " fulfillmentTrackingInfoUpdate(fulfillmentId: $id, trackingInfoInput: $t, notifyCustomer: $notify) {"
    " fulfillment { id trackingInfo(first: $most) { number } } userErrors { field message } } }"
)
SET_FIELD = (
    "mutation SetField($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) {"
    " metafields { namespace key value } userErrors { code field message } } }"
)
_TAGS = " node { ... on Order { id tags } } userErrors { field message } } }"
ADD_TAGS = "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) {" + _TAGS
REMOVE_TAGS = "mutation RemoveTags($id: ID!, $tags: [String!]!) { tagsRemove(id: $id, tags: $tags) {" + _TAGS
