"""How staff edit the parts of a catalog row that are documents rather than lines of text."""

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _

from catalog import strict_json
from catalog.capabilities import CAPABILITIES
from catalog.models import Integration


class DocumentField(forms.JSONField):
    """JSON that a person edits: indented, read strictly, and shown again as it was typed."""

    widget = forms.Textarea(
        attrs={"class": "vLargeTextField", "rows": 8, "spellcheck": "false", "wrap": "off"}
    )

    def bound_data(self, data: Any, initial: Any) -> Any:
        return initial if self.disabled else InvalidJSONInput(data or "")

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, InvalidJSONInput):
            return value
        return json.dumps(value, ensure_ascii=False, indent=2)

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict | list):
            return value
        if not (value or "").strip():
            return {}
        try:
            return strict_json.loads(value.encode())
        except strict_json.StrictJSONError as error:
            raise ValidationError(str(error), code="invalid") from None


class LinesField(forms.CharField):
    """A list of short texts, one per line."""

    widget = forms.Textarea(attrs={"class": "vLargeTextField", "rows": 6, "spellcheck": "false"})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return [line.strip() for line in (value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial) != self.to_python(data))


class CapabilitiesWidget(forms.Widget):
    """A checkbox per capability with the contract versions that exist."""

    template_name = "admin/catalog/capabilities_widget.html"
    use_fieldset = True

    def id_for_label(self, id_: str) -> str:  # noqa: ARG002
        return ""

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        chosen = value if isinstance(value, dict) else {}
        context = super().get_context(name, value, attrs)
        context["rows"] = [
            {
                "capability": item,
                "name": f"{name}-{item.name}",
                "is_chosen": item.name in chosen,
                "version": chosen.get(item.name),
            }
            for item in CAPABILITIES.values()
        ]
        return context

    def render(
        self,
        name: str,
        value: Any,
        attrs: Any = None,
        renderer: Any = None,  # noqa: ARG002
    ) -> SafeString:
        # Forms are rendered by an engine that does not know the project's own templates.
        context = self.get_context(name, value, attrs)
        return mark_safe(render_to_string(self.template_name, context))  # noqa: S308

    def value_from_datadict(self, data: Any, files: Any, name: str) -> dict[str, Any]:  # noqa: ARG002
        return {
            item: _version(data.get(f"{name}-{item}-version"))
            for item in CAPABILITIES
            if f"{name}-{item}" in data
        }

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:  # noqa: ARG002
        # Boxes that are not ticked send nothing, which is an answer too.
        return False


def _version(text: str | None) -> Any:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 5 else text


class CapabilitiesField(forms.Field):
    widget = CapabilitiesWidget
    default_error_messages = {
        "required": _("Declare at least one capability with its version."),
    }

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(initial != data)


class IntegrationForm(forms.ModelForm):  # type: ignore[type-arg]
    capabilities = CapabilitiesField(
        label=_("Capabilities"),
        help_text=_("Tick what the partner offers, in the contract version it speaks."),
    )
    outbound_events = LinesField(
        label=_("Event subscriptions"),
        required=False,
        help_text=_(
            "Event types that Posz sends, one per line, such as order.paid. "
            '<a href="/docs/integrations/events">All events</a>'
        ),
    )
    mapped_ids = LinesField(
        label=_("Ids to map"),
        required=False,
        help_text=_(
            "Whose ids at the partner are not those of Posz, one per line: sku, employee. An "
            "unknown one waits for a person of the merchant."
        ),
    )

    class Meta:
        model = Integration
        fields = "__all__"  # noqa: DJ007 - the admin's fieldsets choose
        field_classes = dict.fromkeys(
            (
                "config_schema",
                "inbound_events",
                "inbound_verification",
                "inbound_mapping",
                "inbound_confirmation",
                "oauth_settings",
                "request_auth",
                "verification_request",
            ),
            DocumentField,
        )
