"""What the staff lists of long logs have in common: a chart on top, and a count that ends."""

from abc import abstractmethod
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.admin import ShowFacets
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import cached_property

from catalog.admin import ReadOnlyAdmin
from webhooks import chart

COUNTED_UP_TO = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than anybody turns pages: the whole of a ledger takes seconds."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED_UP_TO].count())


class ChartedAdmin(ReadOnlyAdmin):
    paginator = CappedPaginator
    # Facets would count the whole ledger once for each of them.
    show_facets = ShowFacets.NEVER
    change_list_template = "admin/webhooks/delivery/change_list.html"

    @abstractmethod
    def chart_of(self, listed: Any, span: chart.Span, now: datetime, zone: ZoneInfo) -> chart.Chart:
        """Of the rows that are listed."""

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """With a chart of what is listed. The list would take its span for a filter."""
        given = request.GET.copy()
        span = chart.SPANS.get(str(given.pop("span", [""])[-1]), chart.DAY)
        request.GET = given  # type: ignore[assignment]
        response = super().changelist_view(request, extra_context)
        if isinstance(response, TemplateResponse) and response.context_data:
            listed = response.context_data["cl"].queryset
            zone = ZoneInfo(timezone.get_current_timezone_name())
            response.context_data["chart"] = self.chart_of(listed, span, timezone.now(), zone)
        return response
