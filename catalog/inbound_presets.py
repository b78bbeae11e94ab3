"""How known providers sign their webhooks and where things stand in them, as documents for a catalog
row. Each is a start that staff change where the provider's page says otherwise; above all the types
of events, which lead to capabilities, are theirs to add.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Document = Mapping[str, Any]
WIB = "+07:00"
UTC = "+00:00"
FIVE_MINUTES = 300
ONE_DAY = 24 * 3600
MINIFIED_DIGEST = "body | minify | sha256 | hex"
ADYEN_ITEM = "body:/notificationItems/0/NotificationRequestItem"


@dataclass(frozen=True, slots=True)
class Preset:
    """`note` is what staff must know before they use it."""

    name: str
    docs_url: str
    verification: Document
    mapping: Document = field(default_factory=dict)
    note: str | Promise = ""
    confirmation: Document = field(default_factory=dict)


def _hmac(signature: str, encoding: str, **more: Any) -> Document:
    return {"kind": "hmac", "signature": signature, "encoding": encoding, **more}


def _time(at: str, written: str, tolerance: int = FIVE_MINUTES) -> Document:
    return {"at": at, "format": written, "tolerance": tolerance}


ID_IS_UNSIGNED = _("The provider does not sign the event id.")
FIELDS_ONLY = _("Only some fields are signed, so Posz asks the provider before it acts.")
NOT_SIGNED = _("The provider signs nothing, so Posz asks it before it acts.")
TRY_FIRST = _("The provider’s pages leave the rule open. Try it with a sample first.")

PAYMENTS: dict[str, Preset] = {
    "stripe": Preset(
        "Stripe",
        "https://docs.stripe.com/webhooks/signature",
        _hmac(
            "header:Stripe-Signature",
            "hex",
            separator=",",
            prefix="v1=",
            signed=["signature:t=", "body"],
            joiner=".",
            time=_time("signature:t=", "unix"),
        ),
        {
            "event_id": "body:/id",
            "type": "body:/type",
            "external_merchant_id": "body:/account",
            "occurred_at": {"at": "body:/created", "format": "unix"},
        },
    ),
    "square": Preset(
        "Square",
        "https://developer.squareup.com/docs/webhooks/step3validate",
        _hmac("header:x-square-hmacsha256-signature", "base64", signed=["url", "body"]),
        {
            "event_id": "body:/event_id",
            "type": "body:/type",
            "external_merchant_id": "body:/merchant_id",
            "external_location_id": "body:/location_id",
            "occurred_at": "body:/created_at",
        },
    ),
    # The items after the first one are signed by themselves and therefore not read.
    "adyen": Preset(
        "Adyen",
        "https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures/",
        _hmac(
            f"{ADYEN_ITEM}/additionalData/hmacSignature",
            "base64",
            key="hex",
            joiner=":",
            signed=[
                f"{ADYEN_ITEM}/pspReference",
                f"{ADYEN_ITEM}/originalReference | optional",
                f"{ADYEN_ITEM}/merchantAccountCode",
                f"{ADYEN_ITEM}/merchantReference | optional",
                f"{ADYEN_ITEM}/amount/value",
                f"{ADYEN_ITEM}/amount/currency",
                f"{ADYEN_ITEM}/eventCode",
                f"{ADYEN_ITEM}/success",
            ],
        ),
        {
            "event_id": [
                f"{ADYEN_ITEM}/pspReference",
                f"{ADYEN_ITEM}/eventCode",
                f"{ADYEN_ITEM}/success",
            ],
            "type": f"{ADYEN_ITEM}/eventCode",
            "external_merchant_id": f"{ADYEN_ITEM}/merchantAccountCode",
            "occurred_at": f"{ADYEN_ITEM}/eventDate",
            "data": "/notificationItems/0/NotificationRequestItem",
        },
        _("Only reference, merchant, amount, event code and success are signed; trust no other."),
    ),
    "adyen-platform": Preset(
        "Adyen for Platforms",
        "https://docs.adyen.com/development-resources/webhooks/verify-hmac-signatures/",
        _hmac("header:HmacSignature", "base64", key="hex"),
        {
            "event_id": [["body:/id"], ["body:/type", "body:/data/id", "body:/timestamp"]],
            "type": "body:/type",
            "external_merchant_id": "body:/data/balancePlatform",
            "occurred_at": "body:/timestamp",
        },
    ),
    "midtrans": Preset(
        "Midtrans",
        "https://docs.midtrans.com/reference/receiving-notifications",
        {
            "kind": "digest",
            "algorithm": "sha512",
            "signature": "body:/signature_key",
            "encoding": "hex",
            "signed": ["body:/order_id", "body:/status_code", "body:/gross_amount", "key"],
            "confirm": True,
        },
        {
            "event_id": ["body:/transaction_id", "body:/status_code", "body:/transaction_status"],
            "type": "body:/transaction_status",
            "external_merchant_id": "body:/merchant_id",
            "occurred_at": {"at": "body:/transaction_time", "format": "rfc3339", "zone": WIB},
        },
        FIELDS_ONLY,
        # https://docs.midtrans.com/reference/get-transaction-status
        {
            "url": "/v2/{body:/transaction_id}/status",
            "auth": {"as": "basic", "purpose": "inbound"},
            "require": {
                "/transaction_id": "{body:/transaction_id}",
                "/order_id": "{body:/order_id}",
            },
        },
    ),
    "midtrans-iris": Preset(
        "Midtrans Iris",
        "https://docs.midtrans.com/reference/notification-payload-1",
        {
            "kind": "digest",
            "algorithm": "sha512",
            "signature": "header:Iris-Signature",
            "encoding": "hex",
            "signed": ["body", "key"],
        },
        {
            "event_id": ["body:/reference_no", "body:/status"],
            "type": "body:/status",
            "occurred_at": "body:/updated_at",
        },
    ),
    "midtrans-snap": Preset(
        "Midtrans SNAP",
        "https://docs.midtrans.com/reference/core-api-snap-open-api-overview",
        {
            "kind": "rsa",
            "signature": "header:X-SIGNATURE",
            "encoding": "base64",
            "signed": ["method", "url-path", MINIFIED_DIGEST, "header:X-TIMESTAMP"],
            "joiner": ":",
            "time": _time("header:X-TIMESTAMP", "rfc3339"),
        },
        {
            "event_id": [
                ["header:X-EXTERNAL-ID", "body:/latestTransactionStatus"],
                ["header:X-EXTERNAL-ID"],
            ],
            "type": [["body:/latestTransactionStatus"], ["text:notification"]],
            "external_merchant_id": "header:X-PARTNER-ID",
            "occurred_at": "header:X-TIMESTAMP",
        },
        ID_IS_UNSIGNED,
    ),
    "snap-symmetric": Preset(
        "SNAP BI",
        "https://apidevportal.aspi-indonesia.or.id/",
        _hmac(
            "header:X-SIGNATURE",
            "base64",
            algorithm="sha512",
            signed=[
                "method",
                "url-path",
                "header:Authorization | after:Bearer ",
                MINIFIED_DIGEST,
                "header:X-TIMESTAMP",
            ],
            joiner=":",
            time=_time("header:X-TIMESTAMP", "rfc3339"),
        ),
        {
            "event_id": [
                ["header:X-EXTERNAL-ID", "body:/latestTransactionStatus"],
                ["header:X-EXTERNAL-ID"],
            ],
            "type": [["body:/latestTransactionStatus"], ["text:notification"]],
            "external_merchant_id": "header:X-PARTNER-ID",
            "occurred_at": "header:X-TIMESTAMP",
        },
        ID_IS_UNSIGNED,
    ),
    "doku": Preset(
        "DOKU",
        "https://developers.doku.com/get-started-with-doku-api/signature-component/non-snap",
        _hmac(
            "header:Signature",
            "base64",
            prefix="HMACSHA256=",
            signed=[
                "text:Client-Id:",
                "header:Client-Id",
                "text:\nRequest-Id:",
                "header:Request-Id",
                "text:\nRequest-Timestamp:",
                "header:Request-Timestamp",
                "text:\nRequest-Target:",
                "url-path",
                "text:\nDigest:",
                "body | sha256 | base64",
            ],
            time=_time("header:Request-Timestamp", "rfc3339"),
        ),
        {
            "event_id": "header:Request-Id",
            "type": "body:/transaction/status",
            "external_merchant_id": "header:Client-Id",
            "occurred_at": "body:/transaction/date",
        },
    ),
    "xendit": Preset(
        "Xendit",
        "https://docs.xendit.co/apidocs/payment-webhook-notification",
        {"kind": "token", "signature": "header:x-callback-token", "confirm": True},
        {
            "event_id": [
                ["body:/data/payment_id", "body:/event", "body:/data/status"],
                ["header:webhook-id"],
            ],
            "type": "body:/event",
            "external_merchant_id": [["body:/business_id"], ["body:/user_id"]],
            "occurred_at": "body:/created",
        },
        _("The token says who sends, not what: Posz asks the provider before it acts."),
    ),
    "kredivo": Preset(
        "Kredivo",
        "https://doc.kredivo.com/",
        {"kind": "none", "confirm": True},
        {
            "event_id": ["body:/transaction_id", "body:/transaction_status"],
            "type": "body:/transaction_status",
            "external_location_id": "body:/sub_merchant_id",
            "occurred_at": {"at": "body:/transaction_time", "format": "unix"},
        },
        NOT_SIGNED,
        # https://doc.kredivo.com/#confirm-order-status
        {
            "url": "/kredivo/v2/update?transaction_id={body:/transaction_id}"
            "&signature_key={body:/signature_key}",
            "require": {"/status": "OK", "/transaction_id": "{body:/transaction_id}"},
            "from_hint": ["external_location_id"],
        },
    ),
}

ORDERS: dict[str, Preset] = {
    "gofood": Preset(
        "GoBiz / GoFood",
        "https://developer.gobiz.com/docs/api/webhooks/receiving-notifications",
        _hmac("header:X-Go-Signature", "hex"),
        {
            "event_id": "body:/header/event_id",
            "type": "body:/header/event_name",
            "external_merchant_id": "body:/body/outlet/id",
            "external_location_id": "body:/body/outlet/id",
            "occurred_at": "body:/header/timestamp",
            "data": "/body",
        },
    ),
    "grabfood": Preset(
        "GrabFood",
        "https://developer.grab.com/docs/grabfood",
        {"kind": "issued"},
        {
            "event_id": [
                ["body:/orderID", "body:/state"],
                ["body:/requestID", "body:/status"],
                ["body:/orderID", "text:submitted"],
            ],
            "type": [
                ["text:order", "body:/state"],
                ["text:menu", "body:/status"],
                ["text:order.submitted"],
            ],
            "external_merchant_id": "body:/merchantID",
            "external_location_id": "body:/merchantID",
            "occurred_at": "body:/updatedAt",
        },
    ),
    "uber-eats": Preset(
        "Uber Eats",
        "https://developer.uber.com/docs/eats/guides/webhooks",
        _hmac("header:X-Uber-Signature", "hex", purpose="oauth_client"),
        {
            "event_id": "body:/event_id",
            "type": "body:/event_type",
            "external_merchant_id": "body:/meta/user_id",
            "external_location_id": "body:/meta/user_id",
            "occurred_at": {"at": "body:/event_time", "format": "unix"},
        },
    ),
    "deliverect": Preset(
        "Deliverect",
        "https://developers.deliverect.com/reference/hmac-authentication",
        _hmac("header:x-server-authorization-hmac-sha256", "hex"),
        {
            "event_id": [["body:/_id", "body:/status"], ["body:/channelOrderId", "body:/status"]],
            "type": ["text:order", "body:/status"],
            "external_merchant_id": [["body:/location"], ["body:/account"]],
            "external_location_id": "body:/channelLink",
        },
    ),
    "toast": Preset(
        "Toast",
        "https://doc.toasttab.com/doc/devguide/apiMessageSigning.html",
        _hmac(
            "header:Toast-Signature",
            "base64",
            signed=["body", "body:/timestamp"],
            time=_time("body:/timestamp", "rfc3339", ONE_DAY),
        ),
        {
            "event_id": "body:/guid",
            "type": "body:/eventType",
            "external_merchant_id": [
                ["header:Toast-Restaurant-External-ID"],
                ["body:/details/restaurantGuid"],
            ],
            "occurred_at": "body:/timestamp",
        },
    ),
    "olo": Preset(
        "Olo",
        "https://github.com/ololabs/dev-support-code-samples",
        _hmac(
            "header:Authorization",
            "base64",
            signed=["url", "body", "header:X-Olo-Message-Id", "header:X-Olo-Timestamp"],
            joiner="\n",
            time=_time("header:X-Olo-Timestamp", "ticks"),
        ),
        {
            "event_id": "header:X-Olo-Message-Id",
            "type": "header:X-Olo-Event-Type",
            "external_merchant_id": "body:/storeNumber",
            "occurred_at": {"at": "header:X-Olo-Timestamp", "format": "ticks"},
        },
        TRY_FIRST,
    ),
    "shopee": Preset(
        "Shopee",
        "https://open.shopee.com/push-mechanism",
        _hmac("header:Authorization", "hex", signed=["url", "body"], joiner="|"),
        {
            "event_id": [
                ["body:/shop_id", "body:/code", "body:/data/ordersn", "body:/timestamp"],
                ["body | sha256 | hex"],
            ],
            "type": "body:/code",
            "external_merchant_id": "body:/shop_id",
            "occurred_at": {"at": "body:/timestamp", "format": "unix"},
        },
        TRY_FIRST,
    ),
    "shopify": Preset(
        "Shopify",
        "https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
        _hmac("header:X-Shopify-Hmac-Sha256", "base64", purpose="oauth_client"),
        {
            "event_id": "header:X-Shopify-Webhook-Id",
            "type": "header:X-Shopify-Topic",
            "external_merchant_id": "header:X-Shopify-Shop-Domain",
            "occurred_at": "header:X-Shopify-Triggered-At",
        },
        ID_IS_UNSIGNED,
    ),
}

OTHERS: dict[str, Preset] = {
    "standard-webhooks": Preset(
        "Standard Webhooks",
        "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        _hmac(
            "header:webhook-signature",
            "base64",
            separator=" ",
            prefix="v1,",
            signed=["header:webhook-id", "header:webhook-timestamp", "body"],
            joiner=".",
            key="whsec",
            time=_time("header:webhook-timestamp", "unix"),
        ),
        {
            "event_id": "header:webhook-id",
            "type": "body:/type",
            "occurred_at": "body:/timestamp",
            "data": "/data",
        },
    ),
    "github": Preset(
        "GitHub",
        "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        _hmac("header:X-Hub-Signature-256", "hex", prefix="sha256="),
        {
            "event_id": "header:X-GitHub-Delivery",
            "type": "header:X-GitHub-Event",
            "external_merchant_id": [["body:/organization/login"], ["body:/repository/full_name"]],
        },
        ID_IS_UNSIGNED,
    ),
    "xero": Preset(
        "Xero",
        "https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/",
        _hmac("header:x-xero-signature", "base64"),
        {
            "each": "/events",
            "event_id": ["item:/resourceId", "item:/eventDateUtc", "item:/eventType"],
            "type": ["item:/eventCategory", "item:/eventType"],
            "external_merchant_id": "item:/tenantId",
            "occurred_at": {"at": "item:/eventDateUtc", "format": "rfc3339", "zone": UTC},
        },
    ),
    "intuit": Preset(
        "Intuit QuickBooks",
        "https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks",
        _hmac("header:intuit-signature", "base64"),
        {
            "each": "",
            "event_id": "item:/id",
            "type": "item:/type",
            "external_merchant_id": "item:/intuitaccountid",
            "occurred_at": "item:/time",
        },
    ),
    "klaviyo": Preset(
        "Klaviyo",
        "https://developers.klaviyo.com/en/docs/working_with_system_webhooks",
        _hmac("header:Klaviyo-Signature", "hex", signed=["body", "header:Klaviyo-Timestamp"]),
        {
            "each": "/data",
            "event_id": "item:/external_id",
            "type": "item:/topic",
            "external_merchant_id": "body:/meta/klaviyo_account_id",
        },
        TRY_FIRST,
    ),
    "seven-shifts": Preset(
        "7shifts",
        "https://developers.7shifts.com/docs/webhooks-introduction",
        _hmac(
            "header:x-hmac-signature",
            "hex",
            signed=["header:x-hmac-timestamp", "body"],
            joiner=".",
            time=_time("header:x-hmac-timestamp", "unix"),
        ),
        {
            "event_id": "header:x-webhook-id",
            "type": "body:/event",
            "external_merchant_id": "header:x-company-id",
        },
        TRY_FIRST,
    ),
    "twilio": Preset(
        "Twilio",
        "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
        _hmac("header:X-Twilio-Signature", "base64", algorithm="sha1", signed=["full-url", "form"]),
        {
            "format": "form",
            "event_id": [["form:MessageSid", "form:MessageStatus"], ["form:MessageSid"]],
            "type": [["form:MessageStatus"], ["text:received"]],
            "external_merchant_id": "form:AccountSid",
        },
    ),
    "twilio-json": Preset(
        "Twilio (JSON)",
        "https://www.twilio.com/docs/usage/webhooks/webhooks-security",
        _hmac(
            "header:X-Twilio-Signature",
            "base64",
            algorithm="sha1",
            signed=["full-url"],
            same={"query:bodySHA256": "body | sha256 | hex"},
        ),
        {
            "event_id": [["body:/MessageSid", "body:/MessageStatus"], ["body | sha256 | hex"]],
            "type": [["body:/MessageStatus"], ["text:received"]],
            "external_merchant_id": "body:/AccountSid",
        },
    ),
    "messagebird": Preset(
        "MessageBird",
        "https://developers.messagebird.com/api/#verifying-http-requests",
        {
            "kind": "jwt",
            "signature": "header:messagebird-signature-jwt",
            "leeway": 5,
            "same": {
                "signature | claim:iss": "text:MessageBird",
                "signature | claim:url_hash": "full-url | sha256 | hex",
                "signature | claim:payload_hash | optional": (
                    "body | nonempty | sha256 | hex | optional"
                ),
            },
        },
        {
            "event_id": "header:messagebird-signature-jwt | claim:jti",
            "type": [["body:/type"], ["text:received"]],
            "external_merchant_id": "body:/message/channelId",
        },
    ),
    "mekari": Preset(
        "Mekari",
        "https://github.com/mekari-engineering/devcenter-kb",
        {"kind": "none", "confirm": True},
        {
            "event_id": ["body:/event", "body | sha256 | hex"],
            "type": "body:/event",
            "external_location_id": "body:/payload/company_id",
            "data": "/payload",
        },
        NOT_SIGNED,
    ),
}

PRESETS: dict[str, Preset] = {**PAYMENTS, **ORDERS, **OTHERS}
