"""What the generator can't see of the API: the webhook door, and the one shape of every error."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from catalog.envelope import STATUS_OF
from webhooks.catalogue import EVENT_TYPES, schema_of
from webhooks.event_types.common import DEFS

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "enum": sorted(STATUS_OF)},
                "message": {"type": "string"},
                "fields": {"type": "object", "additionalProperties": True},
                "conflicts": {"type": "array", "items": {"type": "object"}},
            },
            "additionalProperties": True,
        }
    },
}
RECEIPT: dict[str, Any] = {
    "type": "object",
    "required": ["status", "deduped", "id"],
    "properties": {
        "status": {"enum": ["accepted", "duplicate"]},
        "deduped": {"type": "boolean"},
        "id": {"type": "string", "format": "uuid"},
    },
}
INBOUND = {
    "post": {
        "operationId": "integrations_webhook",
        "tags": ["partners"],
        "summary": "Post an event to Posz",
        "description": (
            "Sign the raw body: lower-case hex of HMAC-SHA256 with the integration's inbound secret, "
            "in `X-{Slug}-Signature`. Repeating an event id is safe: it is answered 200 and has no "
            "further effect."
        ),
        "security": [{"webhookSignature": []}],
        "parameters": [
            {"name": "slug", "in": "path", "required": True, "schema": {"type": "string"}}
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["event_id", "type"],
                        "properties": {
                            "event_id": {"type": "string", "minLength": 1, "maxLength": 255},
                            "type": {"type": "string", "minLength": 1, "maxLength": 100},
                            "merchant_id": {"type": "string", "format": "uuid"},
                            "external_merchant_id": {"type": "string"},
                            "location_id": {"type": ["string", "null"], "format": "uuid"},
                            "occurred_at": {"type": ["string", "null"], "format": "date-time"},
                            "data": {"type": "object"},
                        },
                    }
                }
            },
        },
        "responses": {
            "200": {
                "description": "Stored, or known already.",
                "content": {
                    "application/json": {
                        "schema": {
                            **RECEIPT,
                            "properties": {
                                **RECEIPT["properties"],
                                "id": {"type": ["string", "null"], "format": "uuid"},
                                "events": {
                                    "type": "array",
                                    "description": "Where a post may hold several: each of them.",
                                    "items": RECEIPT,
                                },
                            },
                        }
                    }
                },
            }
        },
    }
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "installs.tokens.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "http", "scheme": "bearer"}


def with_shared_objects(schema: Any) -> Any:
    """The schema with its references to common objects led to where the document keeps them."""
    if isinstance(schema, dict):
        return {
            name: part.replace("#/$defs/", "#/components/schemas/Event")
            if name == "$ref"
            else with_shared_objects(part)
            for name, part in schema.items()
            if name not in {"$schema", "$id", "$defs"}
        }
    if isinstance(schema, list):
        return [with_shared_objects(part) for part in schema]
    return schema


def webhook_of(event_type: str) -> dict[str, Any]:
    known = EVENT_TYPES[event_type]
    content = {"application/json": {"schema": with_shared_objects(schema_of(event_type))}}
    return {
        "post": {
            "operationId": f"on_{event_type.replace('.', '_')}",
            "tags": ["partners"],
            "summary": known.en,
            "requestBody": {"required": True, "content": content},
            "responses": {"2XX": {"description": "Taken; anything else is tried again."}},
        }
    }


METHODS = {"get", "post", "put", "patch", "delete"}


def complete(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular."""
    result["paths"]["/v1/integrations/{slug}/webhook"] = INBOUND
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Error"] = ERROR
    schemas.update({f"Event{name}": with_shared_objects(schema) for name, schema in DEFS.items()})
    result["webhooks"] = {name: webhook_of(name) for name in EVENT_TYPES}
    components.setdefault("securitySchemes", {})["webhookSignature"] = {
        "type": "apiKey",
        "in": "header",
        "name": "X-{Slug}-Signature",
    }
    answer = {
        "description": "Refused: see `error.code`.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for path in result["paths"].values():
        for method, operation in path.items():
            if method in METHODS:
                operation["responses"].setdefault("default", answer)
    return result
