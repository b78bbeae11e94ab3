from typing import Any
from urllib.parse import parse_qs, urlsplit

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.pagination import CursorPagination
from rest_framework.response import Response


def page_of(item: type[serializers.Serializer[Any]]) -> Any:
    """How a list that always fits on one page is described."""
    fields: dict[str, Any] = {
        "data": item(many=True),
        "next": serializers.CharField(allow_null=True),
    }
    return inline_serializer(f"{item.__name__.removesuffix('Serializer')}List", fields)


class CursorPage(CursorPagination):
    """Lists read `{"data": [...], "next": cursor or null}`; pass the cursor back as `?cursor=`."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def encode_cursor(self, cursor: Any) -> str:
        query = urlsplit(super().encode_cursor(cursor)).query
        return parse_qs(query)[self.cursor_query_param][0]

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"data": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "next"],
            "properties": {
                "data": schema,
                "next": {"type": ["string", "null"]},
            },
        }
