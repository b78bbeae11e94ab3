import uuid
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction
from django.db.models import F
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from catalog.addresses import check_url
from catalog.capabilities import CAPABILITIES, Capability, Mode, has_adapter
from catalog.inbound_confirmation import Confirmation, read_confirmation
from catalog.inbound_mapping import EventMapping, read_mapping
from catalog.inbound_scheme import Scheme, read_scheme
from catalog.oauth import OAuthSettings, check_oauth_settings, oauth_settings
from catalog.schema import check_schema
from catalog.verification import check_request_auth, check_verification_request

SLUG_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*\Z"
EVENT_TYPE_PATTERN = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\Z"

validate_slug = RegexValidator(
    SLUG_PATTERN,
    _(
        "Use lower-case letters, digits and single hyphens, such as “google-reviews”. "
        "The slug becomes part of a header name, where nothing else survives."
    ),
)


def in_language(english: str, indonesian: str) -> str:
    """The text in the reader's language, English where the other one is missing."""
    return indonesian if get_language() == "id" and indonesian else english


class CatalogStamp(models.Model):
    """One row whose number grows with every catalog change, so that caches know they are old."""

    version = models.PositiveBigIntegerField(default=0)

    class Meta:
        db_table = "catalog_stamp"

    def __str__(self) -> str:
        return str(self.version)

    @classmethod
    def bump(cls) -> None:
        if not cls.objects.filter(pk=1).update(version=F("version") + 1):
            cls.objects.update_or_create(pk=1, defaults={"version": 1})


class Category(models.Model):
    slug = models.CharField(
        _("slug"),
        max_length=64,
        primary_key=True,
        validators=[
            RegexValidator(
                r"^[a-z][a-z0-9_]*\Z", _("Use lower-case letters, digits and underscores.")
            )
        ],
    )
    name_en = models.CharField(_("name (English)"), max_length=80)
    name_id = models.CharField(_("name (Indonesian)"), max_length=80)
    description_en = models.CharField(_("description (English)"), max_length=200)
    description_id = models.CharField(_("description (Indonesian)"), max_length=200)
    position = models.PositiveSmallIntegerField(_("position"), default=100)

    class Meta:
        db_table = "integration_category"
        ordering = ["position", "slug"]
        verbose_name = _("category")
        verbose_name_plural = _("categories")

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return in_language(self.name_en, self.name_id)

    @property
    def description(self) -> str:
        return in_language(self.description_en, self.description_id)


class AuthShape(models.TextChoices):
    PLATFORM_SHARED = "platform_shared", _("One secret shared by the platform")
    MERCHANT_KEY = "merchant_key", _("A key that each merchant pastes")
    OAUTH = "oauth", _("OAuth 2.0, each merchant connects")


class IntegrationStatus(models.TextChoices):
    DRAFT = "draft", _("Draft")
    IN_REVIEW = "in_review", _("In review")
    AVAILABLE = "available", _("Available")
    DEPRECATED = "deprecated", _("Deprecated")
    DISABLED = "disabled", _("Disabled")


class IntegrationQuerySet(models.QuerySet["Integration"]):
    def listed(self) -> "IntegrationQuerySet":
        """What anybody may see and install."""
        return self.filter(status=IntegrationStatus.AVAILABLE)

    def with_category(self) -> "IntegrationQuerySet":
        return self.select_related("category")


class Integration(models.Model):
    """A catalog row: what a partner offers and how Posz talks to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(_("slug"), max_length=64, unique=True, validators=[validate_slug])
    status = models.CharField(
        _("status"), max_length=16, choices=IntegrationStatus, default=IntegrationStatus.DRAFT
    )
    category = models.ForeignKey(
        Category, models.PROTECT, related_name="integrations", verbose_name=_("category")
    )
    is_demo = models.BooleanField(
        _("demo partner"), default=False, help_text=_("Played by the partner sandbox.")
    )

    name_en = models.CharField(_("name (English)"), max_length=80)
    name_id = models.CharField(_("name (Indonesian)"), max_length=80)
    tagline_en = models.CharField(_("tagline (English)"), max_length=140)
    tagline_id = models.CharField(_("tagline (Indonesian)"), max_length=140)
    description_en = models.TextField(_("description (English)"), max_length=4000)
    description_id = models.TextField(_("description (Indonesian)"), max_length=4000)
    logo = models.CharField(
        _("logo"),
        max_length=120,
        blank=True,
        validators=[RegexValidator(r"^logos/[a-z0-9-]+\.svg\Z", _("Such as logos/spliteasy.svg."))],
        help_text=_("A file among the static files. Empty shows the first letter of the name."),
    )

    auth_shape = models.CharField(_("authentication"), max_length=16, choices=AuthShape)
    capabilities = models.JSONField(
        _("capabilities"),
        default=dict,
        help_text=_('Capability name to contract version, such as {"receipt_qr": 1}.'),
    )
    config_schema = models.JSONField(
        _("settings schema"),
        default=dict,
        blank=True,
        help_text=_("A flat JSON Schema of what a merchant fills in. {} means no settings."),
    )

    api_base_url = models.CharField(
        _("API address"), max_length=500, blank=True, help_text=_("Where Posz calls the partner.")
    )
    landing_base_url = models.CharField(
        _("landing address"),
        max_length=500,
        blank=True,
        help_text=_("Where links on receipts lead, for partners that answer with a token."),
    )
    outbound_events = models.JSONField(
        _("event subscriptions"),
        default=list,
        blank=True,
        help_text=_('Event types that Posz sends, such as ["order.paid"].'),
    )
    outbound_url = models.CharField(
        _("event endpoint"), max_length=500, blank=True, help_text=_("Where Posz posts events.")
    )
    outbound_rate_per_second = models.PositiveSmallIntegerField(
        _("most events a second"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("Posz never sends faster than this. Empty means no limit."),
    )
    outbound_concurrency = models.PositiveSmallIntegerField(
        _("most events at once"),
        default=256,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text=_("How many events may be on their way to the partner at the same moment."),
    )
    outbound_in_order = models.BooleanField(
        _("one order after the other"),
        default=False,
        help_text=_(
            "Events about the same order wait for each other: the next one is sent when the one "
            "before has arrived or was given up."
        ),
    )
    inbound_verification = models.JSONField(
        _("inbound verification"),
        default=dict,
        blank=True,
        help_text=_("{} means HMAC-SHA256 over the raw body in X-{Slug}-Signature."),
    )
    inbound_mapping = models.JSONField(
        _("inbound fields"),
        default=dict,
        blank=True,
        help_text=_(
            'Where things stand in a webhook: {"event_id": "body:/id", "type": "body:/event"}. '
            "{} means the standard body."
        ),
    )
    inbound_confirmation = models.JSONField(
        _("inbound confirmation"),
        default=dict,
        blank=True,
        help_text=_(
            "How the provider is asked whether a webhook is true, where its signature leaves that "
            "open. {} means that nobody can be asked."
        ),
    )
    inbound_events = models.JSONField(
        _("inbound events"),
        default=dict,
        blank=True,
        help_text=_('Event type to capability: {"bill.settled": "payment_webhook_inbound"}.'),
    )
    mapped_ids = models.JSONField(
        _("ids to map"),
        default=list,
        blank=True,
        help_text=_(
            "Whose ids at the partner are not those of Posz, so that an unknown one waits for a "
            "person of the merchant: sku, employee. Others are passed on as they are."
        ),
    )
    is_asked_for_shifts = models.BooleanField(
        _("asked for shifts"),
        default=False,
        help_text=_("Posz asks for the schedule of each install every 15 minutes."),
    )
    oauth_settings = models.JSONField(_("OAuth settings"), default=dict, blank=True)
    request_auth = models.JSONField(
        _("request authentication"),
        default=dict,
        blank=True,
        help_text=_(
            'Which setting authenticates a call: {"scheme": "bearer", "field": "api_key"}. '
            "{} means the signature of Posz alone."
        ),
    )
    verification_request = models.JSONField(
        _("verification request"),
        default=dict,
        blank=True,
        help_text=_(
            "The request that tells whether a merchant’s key is right. Settings are written as "
            "{config.api_key}. {} means no test."
        ),
    )
    previous_secret_seconds = models.PositiveIntegerField(
        _("overlap at rotation (seconds)"),
        default=300,
        validators=[MinValueValidator(0), MaxValueValidator(7 * 24 * 3600)],
        help_text=_("How long the previous secret is still accepted: 0 seconds to 7 days."),
    )

    data_residency = models.CharField(
        _("data residency"),
        max_length=2,
        validators=[RegexValidator(r"^[a-z]{2}\Z", _("A two-letter country code, such as id."))],
    )
    website_url = models.CharField(_("website"), max_length=500, blank=True)
    docs_url = models.CharField(_("documentation"), max_length=500, blank=True)
    privacy_url = models.CharField(_("privacy notice"), max_length=500, blank=True)
    support_email = models.EmailField(_("support e-mail"), blank=True)

    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("changed"), auto_now=True)

    objects = IntegrationQuerySet.as_manager()

    class Meta:
        db_table = "integration"
        ordering = ["slug"]
        verbose_name = _("integration")
        verbose_name_plural = _("integrations")

    def __str__(self) -> str:
        return self.slug

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            super().save(*args, **kwargs)
            CatalogStamp.bump()

    @property
    def name(self) -> str:
        return in_language(self.name_en, self.name_id)

    @property
    def tagline(self) -> str:
        return in_language(self.tagline_en, self.tagline_id)

    @property
    def description(self) -> str:
        return in_language(self.description_en, self.description_id)

    @property
    def initial(self) -> str:
        return self.name[:1].upper()

    @property
    def is_installable(self) -> bool:
        return self.status == IntegrationStatus.AVAILABLE

    @property
    def is_running(self) -> bool:
        """Installed copies keep working until staff switch the integration off for all."""
        return self.status != IntegrationStatus.DISABLED

    @property
    def signature_header(self) -> str:
        return f"X-{'-'.join(part.capitalize() for part in self.slug.split('-'))}-Signature"

    @property
    def inbound_scheme(self) -> Scheme:
        """How the provider proves itself; keep it, for reading it costs time."""
        return read_scheme(self.inbound_verification, self.signature_header)

    @property
    def event_mapping(self) -> EventMapping | None:
        """Where things stand in the provider's webhooks; None for the standard body."""
        return read_mapping(self.inbound_mapping)

    @property
    def confirmation(self) -> Confirmation | None:
        """How the provider is asked whether a webhook is true; None where nobody can be asked."""
        return read_confirmation(self.inbound_confirmation, self.event_mapping, self.api_base_url)

    @property
    def has_own_addresses(self) -> bool:
        """Whether each install may have a webhook address of its own, which is a proof of nothing."""
        return bool(self.inbound_confirmation)

    @property
    def has_outlet_numbers(self) -> bool:
        """Whether the provider's webhooks name an outlet by a number of its own."""
        if not NAME_OUTLETS.isdisjoint(self.capabilities):
            return True
        question = self.inbound_confirmation
        answer = question.get("mapping") if isinstance(question, dict) else None
        return any(
            isinstance(document, dict) and "external_location_id" in document
            for document in (self.inbound_mapping, answer)
        )

    @property
    def has_ids_to_map(self) -> bool:
        """Whether the provider's events name items or people of a merchant."""
        return not NAME_IDS.isdisjoint(self.capabilities)

    @property
    def oauth(self) -> OAuthSettings:
        """Only for integrations that merchants connect."""
        return oauth_settings(self.oauth_settings)

    @property
    def is_oauth(self) -> bool:
        return self.auth_shape == AuthShape.OAUTH

    def declared(self) -> list[Capability]:
        """Declared capabilities in the order of the registry."""
        return [item for name, item in CAPABILITIES.items() if name in self.capabilities]

    @property
    def is_merchant_wide(self) -> bool:
        """Whether it can be installed for all outlets only."""
        return any(item.is_merchant_wide for item in self.declared())

    def modes(self) -> list[Mode]:
        return [mode for mode in Mode if any(item.mode is mode for item in self.declared())]

    def capability_of_event(self, event_type: str) -> str | None:
        """The capability an inbound event belongs to, None where the integration has no such one."""
        name = self.inbound_events.get(event_type)
        return name if name in self.capabilities else None

    def clean(self) -> None:
        problems: dict[str, Any] = {}
        for field, check in (
            ("capabilities", self._check_capabilities),
            ("config_schema", lambda: check_schema(self.config_schema)),
            ("outbound_events", self._check_outbound_events),
            ("inbound_events", self._check_inbound_events),
            ("mapped_ids", self._check_mapped_ids),
            ("is_asked_for_shifts", self._check_asking_for_shifts),
            ("inbound_verification", lambda: self.inbound_scheme),
            ("inbound_mapping", lambda: self.event_mapping),
            ("inbound_confirmation", self._check_confirmation),
            ("oauth_settings", self._check_oauth_settings),
            ("request_auth", self._check_request_auth),
            ("verification_request", self._check_verification_request),
            ("slug", self._check_slug_is_kept),
            *((name, self._url_check(name)) for name in URL_FIELDS),
        ):
            try:
                check()
            except ValidationError as error:
                problems[field] = error
        if problems:
            raise ValidationError(problems)

    def _check_capabilities(self) -> None:
        if not isinstance(self.capabilities, dict) or not self.capabilities:
            raise ValidationError(_("Declare at least one capability with its version."))
        for name, version in self.capabilities.items():
            if name not in CAPABILITIES:
                raise ValidationError(
                    _("“%(name)s” is not a capability of Posz. Known ones: %(known)s.")
                    % {"name": name, "known": ", ".join(CAPABILITIES)}
                )
            if type(version) is not int or version not in CAPABILITIES[name].versions:
                raise ValidationError(
                    _("Version of “%(name)s” must be one of %(versions)s.")
                    % {"name": name, "versions": list(CAPABILITIES[name].versions)}
                )
            if self.status == IntegrationStatus.AVAILABLE and not has_adapter(
                self.slug, name, version
            ):
                raise ValidationError(
                    _(
                        "No adapter speaks “%(name)s” version %(version)s for this integration yet, "
                        "so it can't be available. Keep it in review until one does."
                    )
                    % {"name": name, "version": version}
                )

    def _check_outbound_events(self) -> None:
        check_event_types(self.outbound_events)
        if self.outbound_events and not self.outbound_url:
            raise ValidationError(_("Subscriptions need an event endpoint to send to."))

    def _check_inbound_events(self) -> None:
        if not isinstance(self.inbound_events, dict):
            raise ValidationError(_("Write an object of event type to capability."))
        for event_type, name in self.inbound_events.items():
            if not event_type or len(event_type) > 100:
                raise ValidationError(_("An event type has 1 to 100 characters."))
            if name not in self.capabilities:
                raise ValidationError(
                    _("“%(event)s” leads to “%(name)s”, which this integration does not declare.")
                    % {"event": event_type, "name": name}
                )

    def _check_mapped_ids(self) -> None:
        kinds = self.mapped_ids
        if not isinstance(kinds, list) or not all(kind in MAPPED_KINDS for kind in kinds):
            known = ", ".join(MAPPED_KINDS)
            raise ValidationError(_("Write a list of these: %(known)s.") % {"known": known})

    def _check_asking_for_shifts(self) -> None:
        if not self.is_asked_for_shifts:
            return
        if "staff_schedule_import" not in self.capabilities or not self.api_base_url:
            raise ValidationError(_("That needs “staff_schedule_import” and an API address."))

    def _check_confirmation(self) -> None:
        try:
            mapping = self.event_mapping
        except ValidationError:
            return  # It is a problem of that field.
        question = read_confirmation(self.inbound_confirmation, mapping, self.api_base_url)
        if question and question.auth["as"] == "merchant" and not self.request_auth:
            raise ValidationError(_("“auth”: say in the request authentication what is sent."))
        if question and question.auth["as"] == "account" and not self.is_oauth:
            raise ValidationError(_("“auth”: only integrations that use OAuth have accounts."))

    def _check_oauth_settings(self) -> None:
        if self.auth_shape != AuthShape.OAUTH:
            if self.oauth_settings:
                raise ValidationError(_("Only integrations that use OAuth have OAuth settings."))
            return
        check_oauth_settings(self.oauth_settings)

    def _check_request_auth(self) -> None:
        if not self._is_platform_jwt():
            self._refuse_without_merchant_key(self.request_auth)
        check_request_auth(self.request_auth, self.config_schema)

    def _is_platform_jwt(self) -> bool:
        """The one scheme whose key is Posz's own and not a merchant's."""
        auth = self.request_auth
        is_own = isinstance(auth, dict) and auth.get("scheme") == "platform_jwt"
        return is_own and self.auth_shape == AuthShape.PLATFORM_SHARED

    def _check_verification_request(self) -> None:
        self._refuse_without_merchant_key(self.verification_request)
        check_verification_request(self.verification_request, self.config_schema, self.api_base_url)

    def _refuse_without_merchant_key(self, document: Any) -> None:
        if document != {} and self.auth_shape != AuthShape.MERCHANT_KEY:
            raise ValidationError(
                _("Only integrations for which each merchant pastes a key have this.")
            )

    def _check_slug_is_kept(self) -> None:
        before = Integration.objects.filter(pk=self.pk).values_list("slug", flat=True).first()
        if before is not None and before != self.slug and self.has_installs():
            raise ValidationError(
                _("Merchants have installed “%(slug)s”: its slug can't change any more.")
                % {"slug": before}
            )

    def _url_check(self, name: str) -> Any:
        def check() -> None:
            if getattr(self, name):
                check_url(getattr(self, name))

        return check

    def has_installs(self) -> bool:
        # The install table belongs to the app on the right; the relation is reached by its name.
        return bool(getattr(self, "installs").exists())  # noqa: B009


MAPPED_KINDS = ("sku", "employee")
NAME_IDS = frozenset({"order_inbound", "inventory_replenish_inbound", "staff_schedule_import"})
# Capabilities whose records name outlets, wherever the envelope does.
NAME_OUTLETS = frozenset({"inventory_replenish_inbound", "staff_schedule_import"})
URL_FIELDS = (
    "api_base_url",
    "landing_base_url",
    "outbound_url",
    "website_url",
    "docs_url",
    "privacy_url",
)


def check_event_types(value: Any) -> None:
    rule = RegexValidator(
        EVENT_TYPE_PATTERN, _("An event type reads like “order.paid”: lower-case words and dots.")
    )
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError(_('Write a list of event types, such as ["order.paid"].'))
    for item in value:
        rule(item)
    if len(set(value)) != len(value):
        raise ValidationError(_("An event type stands here twice."))
