"""The GraphQL documents that write, and those that look before it; what reads orders stands in `reads`."""

from __future__ import annotations

SHOP = "query Shop { shop { name } currentAppInstallation { accessScopes { handle } } }"
CONTACT = "query Contact($id: ID!) { order(id: $id) { id email } }"
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
NOTE = "query Note($id: ID!) { order(id: $id) { id note } }"
ADD_NOTE = (
    "mutation AddNote($i: OrderInput!) { orderUpdate(input: $i) { order { id note } userErrors { field message } } }"
)
SET_FIELD = (
    "mutation SetField($m: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $m) {"
    " metafields { namespace key value } userErrors { code field message } } }"
)
_TAGS = " node { ... on Order { id tags } } userErrors { field message } } }"
ADD_TAGS = "mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) {" + _TAGS
REMOVE_TAGS = "mutation RemoveTags($id: ID!, $tags: [String!]!) { tagsRemove(id: $id, tags: $tags) {" + _TAGS
