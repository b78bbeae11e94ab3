"""The API's own description, and what its generator can't see: the webhook door, the token endpoint,
and the one shape of every other error.
"""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import override as language
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

from catalog.envelope import STATUS_OF, ApiError
from dispatch.operations import all_objects
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
INBOUND: dict[str, Any] = {
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
INBOUND_AT_ADDRESS = {
    "post": {
        **INBOUND["post"],
        "operationId": "integrations_webhook_address",
        "summary": "Post an event to the address of one install",
        "description": (
            "For providers that sign nothing. The last part of the address is known to whoever made "
            "it; the event is believed once the provider has confirmed it."
        ),
        "security": [{}],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in ("slug", "secret")
        ],
    }
}
TOKEN_FIELDS = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"const": "client_credentials"},
        "client_id": {"type": "string", "maxLength": 500},
        "client_secret": {"type": "string", "maxLength": 500},
        "scope": {"type": "string", "maxLength": 500, "description": "Read and not needed."},
    },
}
TOKEN_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}


def token_answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


TOKEN: dict[str, Any] = {
    "post": {
        "operationId": "oauth_token",
        "tags": ["partners"],
        "summary": "Get a bearer token to call Posz with",
        "description": (
            "For partners whose webhooks carry a bearer token. RFC 6749, section 4.4; refusals have "
            "the shape of its section 5.2, here and nowhere else."
        ),
        "security": [{"partnerClient": []}, {}],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {"schema": TOKEN_FIELDS},
                "application/json": {"schema": TOKEN_FIELDS},
            },
        },
        "responses": {
            "200": token_answer(
                "The token. It is shown once.",
                {
                    "type": "object",
                    "required": ["access_token", "token_type", "expires_in"],
                    "properties": {
                        "access_token": {"type": "string"},
                        "token_type": {"const": "Bearer"},
                        "expires_in": {"type": "integer", "description": "Seconds."},
                    },
                },
            ),
            "401": token_answer("`invalid_client`.", TOKEN_ERROR),
            "default": token_answer("Refused: see `error`.", TOKEN_ERROR),
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
    result["paths"]["/v1/integrations/{slug}/webhook/{secret}"] = INBOUND_AT_ADDRESS
    result["paths"]["/v1/oauth/token"] = TOKEN
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Error"] = ERROR
    schemas.update({f"Event{name}": with_shared_objects(schema) for name, schema in DEFS.items()})
    schemas.update(
        {
            f"Contract{name}": schema
            for name, schema in all_objects("#/components/schemas/Contract{name}").items()
        }
    )
    result["webhooks"] = {name: webhook_of(name) for name in EVENT_TYPES}
    schemes = components.setdefault("securitySchemes", {})
    schemes["webhookSignature"] = {
        "type": "apiKey",
        "in": "header",
        "name": "X-Slug-Signature",
        "description": "With the integration's own slug in the name, such as X-Spliteasy-Signature.",
    }
    schemes["partnerClient"] = {"type": "http", "scheme": "basic"}
    answer = {
        "description": "Refused: see `error.code`.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for path in result["paths"].values():
        for method, operation in path.items():
            if method in METHODS:
                operation["responses"].setdefault("default", answer)
    return result


@cache
def document() -> bytes:
    """In YAML and English. Made once by each process: it takes a second, and anybody may ask."""
    with language("en"):
        schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    renderer: Any = OpenApiYamlRenderer()
    rendered: bytes = renderer.render(schema, renderer_context={})
    return rendered


@csrf_exempt
def serve_document(request: HttpRequest) -> HttpResponse:
    if request.method not in {"GET", "HEAD"}:
        return ApiError("method_not_allowed").response()
    named = {"Content-Disposition": 'inline; filename="Posz Hub.yaml"'}
    return HttpResponse(
        document(), content_type=f"{OpenApiYamlRenderer.media_type}; charset=utf-8", headers=named
    )
