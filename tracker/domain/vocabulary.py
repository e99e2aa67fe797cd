"""The words everything is normalized into: one enum a question, one sentence a member.

A scan carries four independent facts: `ShippingStatus` (where the parcel is in its life), `Reason`
(why, or how exactly), `Leg` (which way it travels) and `TrackingState` (what *we* know about tracking it).
The values are the strings that are stored and logged; renaming one is a migration.
"""

from __future__ import annotations

from enum import StrEnum


class _Word(StrEnum):
    """A string with the sentence that says exactly when to use it."""

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> _Word:
        """Make a member that is its string and keeps its sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member


class ShippingStatus(StrEnum):
    """Where the parcel is in its life, as the carrier tells it."""

    sentence: str
    rank: int
    terminal: bool
    custody: bool

    def __new__(
        cls, value: str, rank: int = 0, terminal: bool = False, custody: bool = False, sentence: str = ""
    ) -> ShippingStatus:
        """Make a member with its rank (ties of time), whether it ends the journey and whether it begins custody."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.sentence, member.rank, member.terminal, member.custody = sentence, rank, terminal, custody
        return member

    UNKNOWN = "unknown", 0, False, False, "No scan so far says anything usable."
    PRE_TRANSIT = "pre_transit", 10, False, False, "The carrier has data, not the parcel."
    PICKED_UP = "picked_up", 20, False, True, "The carrier has the parcel in its hands for the first time."
    IN_TRANSIT = "in_transit", 30, False, True, "The parcel moves through the carrier's network."
    ON_HOLD = "on_hold", 32, False, False, "The parcel stands still until somebody acts: customs, payment, documents."
    DELAYED = "delayed", 33, False, False, "The parcel still comes, later than promised."
    EXCEPTION = "exception", 35, False, False, "There is a problem and its outcome is open."
    OUT_FOR_DELIVERY = "out_for_delivery", 40, False, True, "The parcel is on its last vehicle."
    DELIVERY_ATTEMPTED = (
        "delivery_attempted", 42, False, True, "Delivery was tried; it will be tried again or collected.",
    )  # fmt: skip
    AVAILABLE_FOR_PICKUP = "available_for_pickup", 45, False, True, "The recipient must collect the parcel."
    DELIVERY_FAILED = (
        "delivery_failed", 50, False, True, "The carrier gave up; return, disposal or another try follows.",
    )  # fmt: skip
    RETURNING = "returning", 60, False, True, "The parcel is on its way back to the sender."
    LOST = "lost", 90, True, False, "The carrier declared the parcel lost; it may reappear."
    DELIVERED = "delivered", 100, True, True, "The parcel was handed over to the recipient; proof may follow."
    RETURNED = "returned", 100, True, True, "The parcel is back with the sender and waits for inspection."
    DESTROYED = "destroyed", 100, True, False, "The parcel was disposed of or destroyed."
    CANCELLED = "cancelled", 100, True, False, "The label was voided before the carrier had the parcel."


class Reason(_Word):
    """Why, or how exactly; legal with any status."""

    # before the carrier has it
    AWAITING_PICKUP = "awaiting_pickup", "Waits for pick-up or drop-off."
    AWB_ASSIGNED = "awb_assigned", "Courier and waybill are assigned."
    DELIVERY_PROPOSED = "delivery_proposed", "A delivery moment was proposed to the recipient."
    DELIVERY_SCHEDULED = "delivery_scheduled", "A delivery moment is fixed."
    FULFILLED_WITH_TRACKING = "fulfilled_with_tracking", "The shop marked it fulfilled with a number."
    FULFILMENT_ALLOCATED = "fulfilment_allocated", "A fulfilment centre was chosen."
    HANDOVER_FAILED = "handover_failed", "Handing over to the courier failed."
    INFORMATION_RECEIVED = "information_received", "The carrier received the shipment data."
    LABEL_CREATED = "label_created", "A label was made."
    LABEL_PRINTED = "label_printed", "The label was printed."
    LABEL_PURCHASED = "label_purchased", "The label was bought."
    MANIFESTED = "manifested", "The parcel is on a manifest."
    MANIFESTED_AT_FULFILMENT_CENTRE = "manifested_at_fulfilment_centre", "The fulfilment centre put it on a manifest."
    MARKED_SHIPPED_BY_SELLER = "marked_shipped_by_seller", "The seller marked it shipped, without a number."
    NOT_YET_RECEIVED = "not_yet_received", "The carrier says it does not have the parcel yet."
    ORDER_CONFIRMED = "order_confirmed", "The shipping order is confirmed."
    OUT_FOR_PICKUP = "out_for_pickup", "A driver is on the way to pick it up."
    PACKED = "packed", "Packed."
    PACKING = "packing", "Being packed."
    PACKING_PROBLEM = "packing_problem", "Packing met a problem."
    PICKLIST_GENERATED = "picklist_generated", "The pick list was made."
    PICKUP_BOOKED = "pickup_booked", "The pick-up is booked."
    PICKUP_DELAYED = "pickup_delayed", "The pick-up is late."
    PICKUP_ERROR = "pickup_error", "Booking the pick-up failed."
    PICKUP_FAILED = "pickup_failed", "The driver came and could not take it."
    PICKUP_QUEUED = "pickup_queued", "The pick-up waits in a queue."
    PICKUP_RESCHEDULED = "pickup_rescheduled", "The pick-up was moved to another time."
    PICKUP_SCHEDULED = "pickup_scheduled", "The pick-up has a time."
    PICKUP_VOIDED = "pickup_voided", "The pick-up was called off."
    PROCESSED_AT_WAREHOUSE = "processed_at_warehouse", "The warehouse processed it."
    READY_TO_PACK = "ready_to_pack", "Ready to be packed."
    SHIPMENT_BOOKED = "shipment_booked", "The shipment is booked with the courier."
    TO_CARRIER = "to_carrier", "Somebody else brings it to the carrier."
    # taken over
    NUMBER = "number", "A tracking number was corrected in the shop: which, and to what."
    ACCEPTED = "accepted", "The carrier accepted it."
    DROPPED_OFF = "dropped_off", "The sender dropped it off."
    HANDED_TO_PARTNER = "handed_to_partner", "Handed to a partner carrier."
    PICKED_UP = "picked_up", "Picked up at the sender."
    RECEIVED_WITHOUT_DATA = "received_without_data", "The parcel is there, its data is not."
    # moving
    ARRIVED_AT_DESTINATION = "arrived_at_destination", "Arrived in the destination area."
    ARRIVED_DESTINATION_COUNTRY = "arrived_destination_country", "Arrived in the destination country."
    ARRIVED_DESTINATION_FACILITY = "arrived_destination_facility", "Arrived at the facility that delivers."
    ARRIVED_FACILITY = "arrived_facility", "Arrived at a facility."
    ARRIVED_ORIGIN_EXCHANGE = "arrived_origin_exchange", "Arrived at the outward office of exchange."
    ARRIVED_TRANSIT_COUNTRY = "arrived_transit_country", "Arrived in a transit country."
    AWAITING_DEPARTURE = "awaiting_departure", "Waits for its scheduled departure."
    CONNECTION_ALIGNED = "connection_aligned", "The next connection is arranged."
    CUSTOMS_CLEARED = "customs_cleared", "Import customs released it."
    CUSTOMS_PROCESSING = "customs_processing", "Import customs works on it."
    DELIVERY_ARRANGED = "delivery_arranged", "Delivery was arranged with the recipient."
    DELIVERY_RESCHEDULED = "delivery_rescheduled", "Delivery was moved to another time."
    DEPARTED_DESTINATION_EXCHANGE = "departed_destination_exchange", "Left the inward office of exchange."
    DEPARTED_FACILITY = "departed_facility", "Left a facility."
    DEPARTED_ORIGIN_COUNTRY = "departed_origin_country", "Left the country of origin."
    DEPARTED_ORIGIN_FACILITY = "departed_origin_facility", "Left the facility of origin."
    DEPARTED_TRANSIT_COUNTRY = "departed_transit_country", "Left a transit country."
    EXPORT_CUSTOMS_CLEARED = "export_customs_cleared", "Export customs released it."
    EXPORT_CUSTOMS_PROCESSING = "export_customs_processing", "Export customs works on it."
    IN_FLIGHT = "in_flight", "On a plane."
    IN_WAREHOUSE = "in_warehouse", "Stored in the carrier's warehouse."
    LOADED_ON_VEHICLE = "loaded_on_vehicle", "Loaded for delivery, not yet driving."
    MOVING = "moving", "Moves; nothing finer is told."
    MOVING_OVERSEAS = "moving_overseas", "Moves outside the country of origin."
    PARTNER_EVENT = "partner_event", "A partner carrier tells of a movement."
    PROBLEM_RESOLVED = "problem_resolved", "An earlier problem is solved."
    PROCESSED = "processed", "Sorted or processed."
    PROCESSING = "processing", "Being sorted or processed."
    REDIRECTED = "redirected", "Redirected to another address or place."
    REDIRECTED_BY_CARRIER = "redirected_by_carrier", "The carrier redirected it on its own."
    RELABELLED = "relabelled", "It got a new label."
    REPACKED = "repacked", "It was repacked."
    TO_PICKUP_POINT = "to_pickup_point", "On its way to the point where it is collected."
    # standing still
    ACTION_REQUIRED = "action_required", "Somebody must act; the carrier does not say what."
    CUSTOMS_HOLD = "customs_hold", "Customs holds it."
    DOCUMENTS_REQUIRED = "documents_required", "Documents are missing or wrong."
    DUTIES_UNPAID = "duties_unpaid", "Duties or taxes are unpaid."
    EXPORT_CUSTOMS_HOLD = "export_customs_hold", "Export customs holds it."
    HELD_BY_CARRIER = "held_by_carrier", "The carrier holds it."
    HELD_DESTINATION_EXCHANGE = "held_destination_exchange", "Held at the inward office of exchange."
    HELD_ORIGIN_EXCHANGE = "held_origin_exchange", "Held at the outward office of exchange."
    INFORMATION_REQUIRED = "information_required", "Information about the parcel is missing."
    INTERCEPTED = "intercepted", "Taken out of the flow on request."
    PAYMENT_REQUIRED = "payment_required", "A payment is due."
    PRE_CLEARANCE_HOLD = "pre_clearance_hold", "The carrier holds it before clearance."
    SECURITY = "security", "A security check."
    # late
    CAPACITY = "capacity", "The carrier is out of capacity."
    CARRIER = "carrier", "The carrier caused the delay."
    CUSTOMS = "customs", "Customs caused the delay."
    EXTERNAL = "external", "Something outside the carrier caused the delay."
    NATURAL_DISASTER = "natural_disaster", "A natural disaster."
    NO_TIME_TO_DELIVER = "no_time_to_deliver", "The driver ran out of time."
    PROCESSING_ISSUE = "processing_issue", "Processing met a problem."
    UNSPECIFIED = "unspecified", "The carrier gives no reason."
    VEHICLE_ISSUE = "vehicle_issue", "A vehicle broke down or was late."
    WEATHER = "weather", "Weather."
    # last mile
    ARRIVING_SOON = "arriving_soon", "The driver is near."
    DELIVERY_IN_PROGRESS = "delivery_in_progress", "The driver is at the door."
    ON_VEHICLE = "on_vehicle", "On the delivery vehicle."
    RECIPIENT_CONTACTED = "recipient_contacted", "The carrier contacted the recipient before delivery."
    ACCESS_PROBLEM = "access_problem", "The driver could not reach the door."
    ADDRESS_INCORRECT = "address_incorrect", "The address is wrong or incomplete."
    BUSINESS_CLOSED = "business_closed", "The business was closed."
    COD_NOT_PAID = "cod_not_paid", "Cash on delivery was not paid."
    IDENTIFICATION_FAILED = "identification_failed", "Identity, age or code check failed."
    NOTICE_LEFT = "notice_left", "The driver left a notice."
    RECIPIENT_ISSUE = "recipient_issue", "Something on the recipient's side."
    RECIPIENT_NOT_READY = "recipient_not_ready", "The recipient was there and not ready."
    RECIPIENT_UNAVAILABLE = "recipient_unavailable", "Nobody was there."
    REFUSED = "refused", "The recipient refused it."
    RESCHEDULE_REQUIRED = "reschedule_required", "A new delivery moment must be agreed."
    CARRIER_DEPOT = "carrier_depot", "To be collected at the carrier's depot."
    DELIVERED_TO_PICKUP_POINT = "delivered_to_pickup_point", "Brought to a pick-up point, not yet collected."
    LOCKER = "locker", "In a locker."
    PICKUP_POINT = "pickup_point", "At a pick-up point."
    POST_OFFICE = "post_office", "At a post office."
    # handed over
    ALTERNATIVE_LOCATION = "alternative_location", "Delivered somewhere else than addressed."
    BY_PARTNER = "by_partner", "A partner carrier did it."
    COD_COLLECTED = "cod_collected", "Cash on delivery was collected."
    COLLECTED_BY_RECIPIENT = "collected_by_recipient", "The recipient collected it."
    DAMAGED = "damaged", "Damaged."
    DELIVERED = "delivered", "Delivered; nothing finer is told."
    FULFILLED_BY_SELLER = "fulfilled_by_seller", "The seller fulfilled it."
    INSIDE_RELEASE = "inside_release", "Left inside the building."
    LEFT_WITH_PERSON = "left_with_person", "Given to a person at the address."
    MAILBOX = "mailbox", "In the mailbox."
    NEIGHBOUR = "neighbour", "Given to a neighbour."
    PARTIAL = "partial", "A part only."
    PO_BOX = "po_box", "In a post-office box."
    PROOF_OF_DELIVERY = "proof_of_delivery", "Proof of delivery became available."
    RECEPTION = "reception", "Given to a reception, dock or mail room."
    RELEASED_WITHOUT_SIGNATURE = "released_without_signature", "Left on the sender's or recipient's authority."
    SAFE_PLACE = "safe_place", "Left in a safe place."
    SELF_FULFILLED = "self_fulfilled", "The seller delivered it."
    SIGNED = "signed", "Signed for."
    # problems
    CANCELLED_BY_RECIPIENT = "cancelled_by_recipient", "The recipient cancelled."
    CONTACT_CARRIER = "contact_carrier", "The carrier asks to be contacted."
    CUSTOMS_INSPECTION = "customs_inspection", "Customs inspects it."
    CUSTOMS_REJECTED = "customs_rejected", "Customs rejected it."
    MISROUTED = "misrouted", "Sent the wrong way."
    MISSING_LABEL = "missing_label", "The label is missing or unreadable."
    OUTSIDE_SERVICE_CAPABILITY = "outside_service_capability", "The carrier cannot deliver it with this service."
    OVERSIZE = "oversize", "Too large or too heavy."
    PARTNER_PROBLEM = "partner_problem", "A partner carrier has a problem with it."
    PROHIBITED_GOODS = "prohibited_goods", "Dangerous or prohibited goods."
    RECIPIENT_MOVED = "recipient_moved", "The recipient moved."
    RECOVERY = "recovery", "The carrier works to recover it."
    REGULATORY_HOLD = "regulatory_hold", "An authority stopped it."
    REJECTED_BY_CARRIER = "rejected_by_carrier", "The carrier refused to carry it."
    RETURN_QUALITY_CHECK_FAILED = "return_quality_check_failed", "The returned goods failed their check."
    SAFE_PLACE_UNAVAILABLE = "safe_place_unavailable", "The safe place could not be used."
    SEIZED = "seized", "An authority took it."
    SENDER_DATA_INCORRECT = "sender_data_incorrect", "The sender's data is wrong."
    SENDER_DIMENSIONS_INCORRECT = "sender_dimensions_incorrect", "The sender's size or weight is wrong."
    SENDER_PARCEL_INCORRECT = "sender_parcel_incorrect", "The sender's parcel does not fit the rules."
    UNCLAIMED = "unclaimed", "Nobody collected it in time."
    UNDER_INVESTIGATION = "under_investigation", "The carrier looks for it."
    # given up, going back, gone
    MAX_ATTEMPTS = "max_attempts", "All delivery attempts are used up."
    RECIPIENT_DECEASED = "recipient_deceased", "The recipient died."
    UNDELIVERABLE = "undeliverable", "It cannot be delivered."
    RETURN_ARRIVED_ORIGIN_CITY = "return_arrived_origin_city", "The return reached the sender's city."
    RETURN_DELIVERY_FAILED = "return_delivery_failed", "Delivering the return failed."
    RETURN_IN_TRANSIT = "return_in_transit", "The return moves."
    RETURN_INITIATED = "return_initiated", "The return was started."
    RETURN_LOCKED = "return_locked", "The return cannot be stopped any more."
    RETURN_OUT_FOR_DELIVERY = "return_out_for_delivery", "The return is on its last vehicle."
    RECEIVED_BY_SENDER = "received_by_sender", "The sender has it again."
    RETURN_ACKNOWLEDGED = "return_acknowledged", "The sender acknowledged the return."
    LOST = "lost", "Declared lost."
    UNTRACEABLE = "untraceable", "It cannot be found."
    DESTROYED = "destroyed", "Destroyed."
    DISPOSED = "disposed", "Disposed of."
    CANCELLED = "cancelled", "Cancelled."
    CANCELLED_BEFORE_DISPATCH = "cancelled_before_dispatch", "Cancelled before dispatch."
    EXPORT_CANCELLED = "export_cancelled", "The export was cancelled."
    LABEL_VOIDED = "label_voided", "The label was voided."
    # says nothing about where the parcel is
    CANCELLATION_REQUESTED = "cancellation_requested", "Somebody asked to cancel."
    CLAIM_OR_CASE = "claim_or_case", "A claim or case was opened, changed or closed."
    DELIVERY_INSTRUCTION = "delivery_instruction", "A delivery instruction was given or changed."
    ETA_UPDATED = "eta_updated", "The estimate changed."
    INFORMATION_ONLY = "information_only", "Information that moves nothing."
    POST_DELIVERY_EVENT = "post_delivery_event", "Something after delivery."
    RECIPIENT_NOTIFIED = "recipient_notified", "The recipient was told."
    RETURN_LABEL = "return_label", "About a return label."
    RETURN_REQUESTED = "return_requested", "Somebody asked for a return."
    SCAN_CORRECTED = "scan_corrected", "The carrier withdrew an earlier scan."
    UNMAPPED = "unmapped", "The code has no meaning in our tables yet."


class Leg(_Word):
    """Which way the parcel travels."""

    OUTBOUND = "outbound", "From sender to recipient."
    RETURN_TO_SENDER = "return_to_sender", "Back to the sender under the same number."
    CUSTOMER_RETURN = "customer_return", "Sent back by the customer."
    EXCHANGE = "exchange", "Against another parcel at the same door."


class TrackingState(_Word):
    """What we know about tracking a number; it never says where the parcel is."""

    PENDING = "pending", "Not asked yet."
    ACTIVE = "active", "The source tells about it."
    NOT_FOUND = "not_found", "The source does not know the number (normal in the first hours)."
    INVALID_NUMBER = "invalid_number", "The source says that the number cannot exist."
    UNSUPPORTED = "unsupported", "The source does not track this kind of number."
    CARRIER_UNKNOWN = "carrier_unknown", "Nobody knows whose number it is."
    AUTH_REQUIRED = "auth_required", "The source wants credentials that we lack."
    ERROR = "error", "The source cannot track it for a reason of its own."
    QUOTA_EXHAUSTED = "quota_exhausted", "Our quota at the source is used up."
    STALE = "stale", "Not confirmed within its interval."
    EXPIRED = "expired", "No news for so long that we stopped asking."
    STOPPED = "stopped", "Somebody stopped it."
    FINAL = "final", "The journey ended; nothing more is expected."


class OrderStatus(StrEnum):
    """The shop's order status in one shared list; the shop's own word is kept beside it.

    `rank` orders them: a write never goes to a lower one. Statuses without a place in that order have rank None.
    """

    sentence: str
    rank: int | None

    def __new__(cls, value: str, rank: int | None = None, sentence: str = "") -> OrderStatus:
        """Make a member with its rank and its sentence."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.rank, member.sentence = rank, sentence
        return member

    def reaches(self, other: OrderStatus) -> bool:
        """Say whether this status is `other` or lies past it; never where one of them has no place in the order."""
        return self.rank is not None and other.rank is not None and self.rank >= other.rank

    AWAITING_CONFIRMATION = "awaiting_confirmation", 0, "Placed, not confirmed."
    CONFIRMED = "confirmed", 10, "Confirmed, not worked on."
    PROCESSING = "processing", 20, "Being prepared."
    READY_FOR_DISPATCH = "ready_for_dispatch", 30, "Packed, waits for hand-over."
    PARTIALLY_SHIPPED = "partially_shipped", 40, "A part left."
    SHIPPED = "shipped", 50, "All of it left."
    IN_TRANSIT = "in_transit", 60, "The shop says it moves."
    OUT_FOR_DELIVERY = "out_for_delivery", 70, "The shop says it is on the last vehicle."
    DELIVERY_FAILED = "delivery_failed", 70, "The shop says delivery failed."
    DELIVERED = "delivered", 100, "The shop says it was delivered."
    RETURNED = "returned", 100, "The shop says it came back."
    ON_HOLD = "on_hold", None, "Stopped by somebody; nothing is written."
    CANCELLED = "cancelled", None, "Cancelled; nothing is written."
    UNKNOWN = "unknown", None, "The shop's word has no translation."


class PaymentStatus(_Word):
    """The third fact: money."""

    PENDING = "pending", "Not paid."
    AUTHORIZED = "authorized", "Reserved, not taken."
    PAID = "paid", "Paid."
    FAILED = "failed", "The payment failed or lapsed."
    PARTIALLY_REFUNDED = "partially_refunded", "A part was given back."
    REFUNDED = "refunded", "All was given back."
    DISPUTED = "disputed", "The customer disputes it."
    UNKNOWN = "unknown", "The shop's word has no translation: neither paid nor unpaid is known."


class Owner(_Word):
    """Who dispatches the order."""

    PLATFORM = "platform", "The platform dispatches (P)."
    SELLER = "seller", "The seller delivers (S)."
    COURIER = "courier", "The seller hands it to a courier (C)."
    UNKNOWN = "unknown", "Not known: no write."


class Zone(_Word):
    """How we know the instant of a scan."""

    OFFSET = "offset", "The carrier sent an offset."
    UTC = "utc", "The carrier sent separate UTC fields."
    BY_PLACE = "by_place", "Derived from the place of the scan."
    ASSUMED = "assumed", "The carrier's default zone; may be wrong by up to 26 h."
    UNKNOWN = "unknown", "No zone, and none to assume."
    FUTURE = "future", "Its time lay ahead of ours: bounded to the moment it was told."


class Precision(_Word):
    """How finely the carrier told the time."""

    SECOND = "second", "To the second."
    MINUTE = "minute", "To the minute."
    DATE = "date", "A date only."


class Trust(_Word):
    """What a webhook of this source proves."""

    SIGNED = "signed", "The body is signed: nobody else can have written it."
    SHARED = "shared", "The sender knows a secret; the body is not covered, so a poll must confirm."


class Severity(_Word):
    """How soon a person must look."""

    URGENT = "urgent", "Money or goods are being lost now."
    WARNING = "warning", "Somebody must look today."
    INFO = "info", "Worth knowing."

    @property
    def rank(self) -> int:
        """How it compares: the worst has the highest."""
        return {"urgent": 3, "warning": 2, "info": 1}[self.value]


class Act(_Word):
    """What a person is asked to do about a finding."""

    ACT = "act", "Do something."
    FOLLOW_UP = "follow_up", "Ask the carrier or the customer."
    MONITOR = "monitor", "Watch; somebody else acts."


class StatementKind(_Word):
    """What a person can say of an order."""

    NOTE = "note", "A remark; it decides nothing."
    VERIFIED = "verified", "The order was verified (COD, bank transfer)."
    INSPECTED = "inspected", "A returned parcel was inspected."
    HANDED_OVER = "handed_over", "The parcels were handed over."
    PROOF = "proof", "A proof of delivery, or where it lies."
    CORRECTION = "correction", "The status that the order must have, with the reason."
    NUMBER = "number", "A tracking number was corrected in the shop: which, and to what."
    ACCEPTED = "accepted", "Shop and carrier differ, somebody looked at it, and so it stays."
    GATE_REASON = "gate_reason", "Why somebody asked a gate."


class NoticeClass(_Word):
    """What the customer may be told, once each; what is of a parcel once a parcel."""

    PLACED = "placed", "The order was placed."
    CONFIRMED = "confirmed", "The order was confirmed."
    SHIPPED = "shipped", "A parcel was handed to its carrier."
    OUT_FOR_DELIVERY = "out_for_delivery", "A parcel is on its last vehicle."
    READY_FOR_PICKUP = "ready_for_pickup", "A parcel waits to be collected."
    ATTEMPTED = "attempted", "Delivery of a parcel was tried."
    DELAYED = "delayed", "A parcel is later than estimated."
    PROBLEM = "problem", "The carrier tells of a problem with a parcel whose outcome is open."
    DELIVERED = "delivered", "A parcel was delivered."
    RETURNING = "returning", "A parcel comes back to its sender."
    REVIEW_REQUEST = "review_request", "The order was delivered: ask what the customer thinks."


class DriftKind(_Word):
    """How shop and carriers disagree about an order: facts, whatever the policy wants."""

    SHOP_AHEAD = "shop_ahead", "The shop says more than the carrier does."
    SHOP_BEHIND = "shop_behind", "The carrier says more than the shop does."
    CANCELLED_BUT_MOVING = "cancelled_but_moving", "The order is cancelled and a carrier has, or had, a parcel of it."
    WITHDRAWN = "withdrawn", "The shop says Delivered, and the carrier took its Delivered back."
    CONTRADICTED = "contradicted", "The carrier's own later scan speaks against where it says the parcel ended."


class FindingKind(_Word):
    """What a person must look at."""

    # the two statuses disagree
    ORDER_BEHIND = "order_behind", "The parcel is further than the shop says, and we may not write it."
    ORDER_AHEAD = "order_ahead", "The shop says more than the carrier does."
    CANCELLED_BUT_MOVING = "cancelled_but_moving", "The order is cancelled and a parcel of it is in custody."
    REFUNDED_BUT_MOVING = "refunded_but_moving", "The order is refunded and a parcel of it is still under way."
    CORRECTION_AFTER_DELIVERED = (
        "correction_after_delivered",
        "Delivered, returned or destroyed was told and taken back: contradicted, or gone from the carrier's answers.",
    )
    DELIVERED_BEFORE_SHIPPED = "delivered_before_shipped", "The order went to Delivered and never was Shipped."
    SYSTEM_CONTROLLED_EDIT = "system_controlled_edit", "Somebody changed a status that only the system may set."
    REMEDY_IN_CUSTODY = "remedy_in_custody", "A refund or resend was made while the carrier has the parcel."
    STATUS_NOT_EXPRESSIBLE = "status_not_expressible", "The shop has no word for a status that its policy wants."
    # who owns it, and what its words mean
    UNKNOWN_OWNER = "unknown_owner", "Nobody knows who dispatches the order: nothing is written."
    UNKNOWN_ORDER_STATUS = "unknown_order_status", "The shop's word has no translation: nothing is written."
    # money, checks and papers
    UNKNOWN_PAYMENT = (
        "unknown_payment",
        "The shop's word for the payment has no translation: whether it is paid is not known.",
    )
    UNPAID_PROCESSING = "unpaid_processing", "The order is being prepared and is not paid."
    UNPAID_SHIPPED = "unpaid_shipped", "The order was shipped and is not paid."
    PAYMENT_FAILED = "payment_failed", "The payment failed."
    FAILED_PAYMENT_DISPATCHED = "failed_payment_dispatched", "The payment failed and the order went to dispatch."
    UNVERIFIED_DISPATCH = "unverified_dispatch", "The order went to dispatch and nobody verified it."
    DISPATCH_WITHOUT_COURIER = "dispatch_without_courier", "Ready for dispatch without a courier and a waybill."
    SHIPPED_WITHOUT_TRACKING = "shipped_without_tracking", "Shipped without a carrier and a tracking number."
    ADDRESS_UNCONFIRMED = "address_unconfirmed", "Shipped to an address that is missing, flagged or unconfirmed."
    QUANTITY_MISMATCH = "quantity_mismatch", "Fewer or more pieces were shipped than ordered."
    OUT_OF_STOCK = "out_of_stock", "An item of the order is out of stock."
    REFUND_DUE = "refund_due", "The order was cancelled and its money was not given back."
    # clocks
    CONFIRM_OVERDUE = "confirm_overdue", "The order was not confirmed in time."
    PROCESSING_OVERDUE = "processing_overdue", "The order did not reach Processing in time."
    SHIPPING_OVERDUE = "shipping_overdue", "The order was not shipped in time."
    LABEL_NEVER_SCANNED = "label_never_scanned", "A label exists and the carrier never got the parcel."
    STUCK = "stuck", "The parcel stands still for longer than usual."
    DELIVERY_OVERDUE = "delivery_overdue", "The estimated delivery has passed."
    PICKUP_EXPIRING = "pickup_expiring", "The parcel waits at a pick-up point and will go back soon."
    TRACKING_EXPIRED = "tracking_expired", "No news for so long that we stopped asking."
    # what the carrier tells
    ATTEMPT_FAILED = "attempt_failed", "A delivery attempt failed."
    ADDRESS_PROBLEM = "address_problem", "The carrier cannot deliver to this address."
    RETURNED_AWAITING_INSPECTION = "returned_awaiting_inspection", "The parcel is back and waits for inspection."
    LOST_OR_DESTROYED = "lost_or_destroyed", "The carrier lost or destroyed the parcel."
    TRACKING_CHANGED = "tracking_changed", "A number that the carrier already had was replaced in the shop."
    SOURCES_DISAGREE = "sources_disagree", "Two sources contradict each other."
    UNMAPPED_CODE = "unmapped_code", "A scan carries a code that has no meaning in our tables."
    TRACKING_NUMBER_UNREADABLE = "tracking_number_unreadable", "What the shop holds as a tracking number is none."
    TRACKING_NUMBER_DOUBTFUL = (
        "tracking_number_doubtful",
        "The carrier does not know the number and its check digit is wrong, or the carrier says that no number is so.",
    )
    CARRIER_NOT_COVERED = "carrier_not_covered", "Parcels of a carrier that no account of ours may ask about."
    # what could not be read, or not be had
    ORDER_UNREADABLE = "order_unreadable", "An order, or a line of it, could not be read."
    PARCEL_UNREADABLE = "parcel_unreadable", "What a carrier tells of a parcel could not be read."
    ORDER_INCOMPLETE = "order_incomplete", "The shop holds more of this order than it lets us read."
    ORDER_GONE = "order_gone", "The order was deleted in the shop: nothing is written; its parcels are still tracked."
    ORDER_OUT_OF_SIGHT = "order_out_of_sight", "The order is older than the shop's permission lets us read."
    ORDER_TIME_WRONG = "order_time_wrong", "The shop says that the order changed in the future."
    ANSWER_CHANGED_SHAPE = "answer_changed_shape", "Answers of an account hold a new piece that cannot be read."
    PAYLOAD_DEAD = "payload_dead", "A payload of which nothing could be read, or that failed again and again."
    FILE_FAILED = "file_failed", "A file of a carrier cannot be read, or the place where its files come cannot be used."
    WRITE_DEAD = "write_dead", "A write of ours failed again and again and was given up."
    MAIL_REFUSED = "mail_refused", "A mail to the customer of an order was not taken, and is not tried again."
    # accounts, and what stands apart
    ADDRESS_UNREAD = "address_unread", "The shop does not tell us to whom its customers' mails go: none is sent."
    MAIL_SUSPENDED = (
        "mail_suspended",
        "The mail server refuses our login or sender: no mail is sent until that is mended.",
    )
    MAIL_AWAY = "mail_away", "The mail server does not answer as it must: mails wait."
    SOURCE_UNAVAILABLE = (
        "source_unavailable",
        "A shop or carrier does not answer as it must; its account rests and tries again.",
    )
    BUDGET_TOO_SMALL = (
        "budget_too_small",
        "An account's budget does not let its parcels be seen as often as they should be.",
    )
    SWEEP_ENDED = "sweep_ended", "A sweep of a store or feed ended before its end: its pages repeat or are too many."
    FEED_GAP = "feed_gap", "The feed of an account has a gap; its parcels are asked about one by one instead."
    KEYS_MISSING = (
        "keys_missing",
        "The public key that a webhook is signed with cannot be had: its webhooks are not taken.",
    )
    WEBHOOKS_MISSING = "webhooks_missing", "Many webhooks of an account do not arrive; polls bring their news."
    WRITE_REFUSED = "write_refused", "The shop refused a write of ours, or did not keep it."
    WRITES_HELD = "writes_held", "The hourly write budget of the store is used up."
    REGISTRATION_REFUSED = "registration_refused", "A carrier refused to watch a number."
    QUOTA_LOW = "quota_low", "What an account may register is used up, or nearly; new parcels wait for it."
    TRACKING_STOPPED = (
        "tracking_stopped",
        "A source stopped a parcel that an order waits for, and will not begin again.",
    )
    WEBHOOKS_SILENT = "webhooks_silent", "An account that used to send webhooks is silent while polls bring news."
    ANSWERS_ODDLY = (
        "answers_oddly",
        "A source answers otherwise than it was asked, as in another version: what it says may be read wrongly.",
    )
    HOOK_WRONG = "hook_wrong", "A hook that an account wants is missing or wrong in the shop, and we cannot mend it."
    ENDPOINT_AWAY = "endpoint_away", "An address that we tell what happens does not take it; what is told there waits."
    OUTAGE = "outage", "We were away; carriers may have given up telling, and polls close the gap."
    ACCOUNT_PARKED = "account_parked", "Our credentials are refused; the account waits for a person."
    ENTRY_WRONG = "entry_wrong", "The entry of an account or store cannot be used; it alone stands still."
    ENDS_LEAPT = (
        "ends_leapt",
        "An account suddenly tells far more ends of journeys than it did: what tells of them is held until a person looked.",
    )
    CARRIER_SLOWDOWN = "carrier_slowdown", "Many parcels of a carrier stand still at once."
    PARCEL_WITHOUT_ORDER = "parcel_without_order", "A webhook tells of a parcel that no order names."
    ABANDONED_CHECKOUT = "abandoned_checkout", "A checkout was left: no order, never tracked."
    RECONCILE_FAILED = "reconcile_failed", "Reconciling this order raised an error of ours."
