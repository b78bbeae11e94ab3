import hashlib
import secrets
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, available_timezones

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, RegexValidator
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration, IntegrationStatus
from installs.fields import EncryptedJSONField
from installs.scope import ScopedInstall


def check_timezone(value: str) -> None:
    if value not in available_timezones():
        raise ValidationError(
            _("“%(zone)s” is not a time zone such as Asia/Makassar."), params={"zone": value}
        )


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **extra: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email__iexact=username)


class User(AbstractBaseUser, PermissionsMixin):
    """A person: signs in by e-mail, works for merchants through memberships."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(_("e-mail"), unique=True)
    name = models.CharField(_("name"), max_length=120, blank=True)
    is_staff = models.BooleanField(_("Posz staff"), default=False)
    is_active = models.BooleanField(_("active"), default=True)
    date_joined = models.DateTimeField(_("joined"), default=timezone.now)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        db_table = "posz_user"
        verbose_name = _("person")
        verbose_name_plural = _("people")

    def __str__(self) -> str:
        return self.email

    def get_full_name(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.get_full_name()


# What `settings.changed` may set on the hub's copy of a merchant.
FOLLOWED_SETTINGS = frozenset({"name", "email", "phone", "city", "locale", "timezone", "logo_url"})


class Merchant(models.Model):
    """A restaurant business, as the POS knows it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=120)
    email = models.EmailField(_("e-mail"))
    phone = models.CharField(_("phone"), max_length=32, blank=True)
    city = models.CharField(_("city"), max_length=80)
    currency = models.CharField(
        _("currency"), max_length=3, default="IDR", validators=[RegexValidator(r"^[A-Z]{3}\Z")]
    )
    locale = models.CharField(_("language"), max_length=8, default="id")
    timezone = models.CharField(
        _("time zone"), max_length=64, default="Asia/Jakarta", validators=[check_timezone]
    )
    logo_url = models.CharField(_("logo"), max_length=500, blank=True)
    snapshot_version = models.PositiveBigIntegerField(default=0, editable=False)
    event_sequence = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        db_table = "merchant"
        ordering = ["name", "id"]
        verbose_name = _("merchant")
        verbose_name_plural = _("merchants")

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding and kwargs.get("update_fields") is None:
            # The counters move in the database; a stale copy must not set them back.
            kwargs["update_fields"] = [
                field.name
                for field in self._meta.concrete_fields
                if field.name not in {"id", "snapshot_version", "event_sequence"}
            ]
        super().save(*args, **kwargs)
        Merchant.touch(self.pk)

    def apply_settings(self, after: Mapping[str, Any]) -> None:
        """Take over what the POS says of the merchant; unknown or unusable values are left out."""
        changed = []
        for name in FOLLOWED_SETTINGS & after.keys():
            field = self._meta.get_field(name)
            try:
                setattr(self, name, field.clean(after[name], self))  # type: ignore[union-attr]
            except ValidationError:
                continue
            changed.append(name)
        if changed:
            self.save(update_fields=sorted(changed))

    @classmethod
    def touch(cls, merchant_id: uuid.UUID) -> None:
        """Everything that was remembered of this merchant is old now."""
        cls.objects.filter(pk=merchant_id).update(snapshot_version=F("snapshot_version") + 1)


class Location(models.Model):
    """An outlet. Zone, tax and service charge belong here: they differ inside one merchant."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="locations")
    name = models.CharField(_("name"), max_length=120)
    city = models.CharField(_("city"), max_length=80)
    address = models.CharField(_("address"), max_length=200, blank=True)
    timezone = models.CharField(
        _("time zone"), max_length=64, default="Asia/Jakarta", validators=[check_timezone]
    )
    service_rate_bp = models.PositiveIntegerField(
        _("service charge (1/100 %)"), default=500, validators=[MaxValueValidator(10000)]
    )
    tax_rate_bp = models.PositiveIntegerField(
        _("restaurant tax PB1 (1/100 %)"), default=1000, validators=[MaxValueValidator(10000)]
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        db_table = "location"
        ordering = ["created_at", "id"]
        verbose_name = _("outlet")
        verbose_name_plural = _("outlets")

    def __str__(self) -> str:
        return f"{self.name}, {self.city}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        super().save(*args, **kwargs)
        Merchant.touch(self.merchant_id)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Role(models.TextChoices):
    OWNER = "owner", _("Owner")
    MANAGER = "manager", _("Manager")
    VIEWER = "viewer", _("Viewer")


class Membership(models.Model):
    user = models.ForeignKey(
        User, models.CASCADE, related_name="memberships", verbose_name=_("person")
    )
    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="memberships")
    role = models.CharField(_("role"), max_length=8, choices=Role)
    locations = models.ManyToManyField(
        Location,
        blank=True,
        verbose_name=_("only these outlets"),
        help_text=_("A manager may be limited to some outlets. Empty means all of them."),
    )

    class Meta:
        db_table = "membership"
        constraints = [models.UniqueConstraint(fields=["user", "merchant"], name="one_membership")]
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")

    def __str__(self) -> str:
        return f"{self.user} · {self.merchant} · {self.role}"


class ApiToken(models.Model):
    """A bearer token of a till or of a merchant's script. Only its hash is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=80)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    merchant = models.ForeignKey(
        Merchant,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="tokens",
        help_text=_("Empty: the token speaks for every merchant."),
    )
    role = models.CharField(_("role"), max_length=8, choices=Role, default=Role.OWNER)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        db_table = "api_token"
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def digest_of(token: str) -> str:
        # A token holds 256 random bits, so a plain hash can't be reversed by guessing.
        return hashlib.sha256(token.encode()).hexdigest()

    @classmethod
    def issue(cls, name: str, *, merchant: Merchant | None, role: str = Role.OWNER) -> str:
        """Make a token and return it: the only moment at which it can be read."""
        token = f"posz_{secrets.token_urlsafe(32)}"
        cls.objects.create(name=name, merchant=merchant, role=role, digest=cls.digest_of(token))
        return token


class Connection(models.TextChoices):
    CONNECTED = "connected", _("Connected")
    CONNECTING = "connecting", _("Connecting")
    FAILED = "failed", _("Needs attention")


class InstallQuerySet(models.QuerySet["Install"]):
    def for_merchant(self, merchant_id: uuid.UUID) -> "InstallQuerySet":
        return self.filter(merchant_id=merchant_id)

    def in_order(self) -> "InstallQuerySet":
        """Install order, which is also the order of answers at one location."""
        return self.order_by("installed_at", "id")

    def with_names(self) -> "InstallQuerySet":
        return self.select_related("integration", "location")

    def sign_in_services(self) -> "InstallQuerySet":
        """Those through which the people of their merchants have to sign in at the moment."""
        return self.filter(
            is_enabled=True, location=None, capability_versions__has_key="auth_provider"
        ).exclude(integration__status=IntegrationStatus.DISABLED)

    def of_others(self, row: "Install", number: str) -> "InstallQuerySet":
        """Those of other merchants whom the partner of this install knows by this number."""
        known = self.filter(integration=row.integration_id, external_merchant_id=number)
        return known.exclude(external_merchant_id="").exclude(merchant=row.merchant_id)

    def due_for_provisioning(self, at: datetime) -> "InstallQuerySet":
        return self.filter(provision_due_at__lte=at, is_enabled=True)


class Install(models.Model):
    """What one merchant has installed, for all locations (`location` NULL) or for one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(Merchant, models.PROTECT, related_name="installs")
    integration = models.ForeignKey(
        Integration, models.PROTECT, related_name="installs", verbose_name=_("integration")
    )
    location = models.ForeignKey(
        Location,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="installs",
        verbose_name=_("outlet"),
    )
    is_enabled = models.BooleanField(_("enabled"), default=True)
    switched_at = models.DateTimeField(
        _("switched on or off"), default=timezone.now, editable=False
    )
    config: Any = EncryptedJSONField(_("settings"))
    config_changed_at = models.DateTimeField(
        _("settings changed"), default=timezone.now, editable=False
    )
    capability_versions = models.JSONField(default=dict, editable=False)
    external_merchant_id = models.CharField(
        _("number at the partner"), max_length=255, blank=True, editable=False
    )
    connection = models.CharField(
        _("connection"), max_length=12, choices=Connection, default=Connection.CONNECTED
    )
    connection_problem = models.CharField(_("problem"), max_length=40, blank=True, editable=False)
    provision_due_at = models.DateTimeField(_("next try"), null=True, editable=False)
    provision_attempts = models.PositiveSmallIntegerField(_("tries"), default=0, editable=False)
    outbound_off_at = models.DateTimeField(_("events stopped"), null=True, editable=False)
    grant = models.ForeignKey(
        "OAuthGrant", models.PROTECT, null=True, editable=False, related_name="installs"
    )
    installed_at = models.DateTimeField(_("installed"), default=timezone.now, editable=False)
    installed_by = models.CharField(_("installed by"), max_length=254, editable=False)

    objects = InstallQuerySet.as_manager()

    class Meta:
        db_table = "merchant_integration"
        ordering = ["installed_at", "id"]
        verbose_name = _("install")
        verbose_name_plural = _("installs")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "integration", "location"],
                condition=Q(location__isnull=False),
                name="one_install_per_location",
            ),
            models.UniqueConstraint(
                fields=["merchant", "integration"],
                condition=Q(location__isnull=True),
                name="one_install_for_all",
            ),
        ]
        indexes = [
            models.Index(
                fields=["provision_due_at"],
                condition=Q(provision_due_at__isnull=False),
                name="install_provision_due",
            ),
            models.Index(
                fields=["integration", "external_merchant_id"], name="install_external_merchant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration} @ {self.location or self.merchant}"

    def scoped(self, capabilities: Iterable[str] | None = None) -> ScopedInstall:
        """The part of the row that decides who answers; with other capabilities than its own to
        see what would be."""
        return ScopedInstall(
            id=self.pk,
            integration=self.integration.slug,
            location=self.location_id,
            is_enabled=self.is_enabled,
            capabilities=frozenset(
                self.capability_versions if capabilities is None else capabilities
            ),
        )

    @property
    def waits_for_person(self) -> bool:
        """Whether only somebody of the merchant, at the partner's consent page, can mend it."""
        return self.connection == Connection.FAILED and self.connection_problem in {
            "reconnect_needed",
            "not_connected",
            "missing_scopes",
        }

    @property
    def is_behind(self) -> bool:
        """Whether the catalog row declares other contract versions than this install speaks."""
        return bool(self.capability_versions != self.integration.capabilities)


class OutletNumberQuerySet(models.QuerySet["OutletNumber"]):
    def covered(self) -> "OutletNumberQuerySet":
        """Those of outlets where the integration is installed, switched on or not."""
        here = Q(location=OuterRef("location")) | Q(location=None)
        installs = Install.objects.filter(
            here, integration=OuterRef("integration"), merchant=OuterRef("location__merchant")
        )
        return self.filter(Exists(installs))

    def uncovered(self) -> "OutletNumberQuerySet":
        return self.exclude(pk__in=self.covered().values("pk"))


class OutletNumber(models.Model):
    """What a partner calls an outlet, so that its events are found to be about it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(
        Integration,
        models.CASCADE,
        related_name="outlet_numbers",
        verbose_name=_("integration"),
    )
    location = models.ForeignKey(
        Location, models.CASCADE, related_name="outlet_numbers", verbose_name=_("outlet")
    )
    external_id = models.CharField(_("number at the partner"), max_length=255)
    changed_at = models.DateTimeField(_("changed"), default=timezone.now, editable=False)

    objects = OutletNumberQuerySet.as_manager()

    class Meta:
        db_table = "outlet_number"
        verbose_name = _("outlet number")
        verbose_name_plural = _("outlet numbers")
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_outlet_per_number"
            ),
            models.UniqueConstraint(
                fields=["integration", "location"], name="one_number_per_outlet"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration} {self.external_id}: {self.location}"


class UnknownOutlet(models.Model):
    """A number that verified events named and that no outlet has. Nothing else of them is kept.

    The merchant is known where the partner names it beside the outlet.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(
        Integration,
        models.CASCADE,
        related_name="unknown_outlets",
        verbose_name=_("integration"),
    )
    external_id = models.CharField(_("number at the partner"), max_length=255)
    merchant = models.ForeignKey(
        Merchant,
        models.CASCADE,
        null=True,
        related_name="unknown_outlets",
        verbose_name=_("merchant"),
    )
    events = models.PositiveIntegerField(_("events"), default=0)
    first_seen_at = models.DateTimeField(_("first seen"), default=timezone.now)
    last_seen_at = models.DateTimeField(_("last seen"), default=timezone.now)

    class Meta:
        db_table = "unknown_outlet"
        verbose_name = _("unknown outlet")
        verbose_name_plural = _("unknown outlets")
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "external_id"], name="one_row_per_unknown_outlet"
            )
        ]

    def __str__(self) -> str:
        return f"{self.integration} {self.external_id}"


class InboundAddress(models.Model):
    """A webhook address of one install that nobody can guess, for providers that sign nothing. Only
    the hash of its last part is kept."""

    install = models.OneToOneField(
        Install, models.CASCADE, primary_key=True, related_name="inbound_address"
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    made_at = models.DateTimeField(_("made"), default=timezone.now, editable=False)

    class Meta:
        db_table = "inbound_address"
        verbose_name = _("webhook address")
        verbose_name_plural = _("webhook addresses")

    def __str__(self) -> str:
        return str(self.install)


class InstallPlan(models.Model):
    """A change that was shown to somebody and may be carried out while nothing else has changed.

    The payload is encrypted because it holds settings: those to install with, and for an undo the
    rows that left.
    """

    class Kind(models.TextChoices):
        SWAP = "swap"
        UNDO = "undo"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=4, choices=Kind, default=Kind.SWAP, editable=False)
    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="plans", editable=False)
    integration = models.ForeignKey(Integration, models.CASCADE, editable=False)
    location_id = models.UUIDField(null=True, editable=False)
    instead_of = models.JSONField(default=list, editable=False)
    payload: Any = EncryptedJSONField()
    fingerprint = models.CharField(max_length=64, editable=False)
    created_by = models.CharField(max_length=254, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "install_plan"

    def __str__(self) -> str:
        return f"{self.kind} {self.integration} for {self.merchant}"


class Purpose(models.TextChoices):
    JWT = "jwt", _("JWT that Posz signs")
    INBOUND = "inbound", _("Webhooks that the partner signs")
    OUTBOUND = "outbound", _("Webhooks that Posz signs")
    OAUTH_CLIENT = "oauth_client", _("OAuth client secret of Posz at the partner")


class SecretState(models.TextChoices):
    NEXT = "next", _("Next")
    CURRENT = "current", _("Current")
    PREVIOUS = "previous", _("Previous")


ROTATE_AFTER = timedelta(days=90)
# By the database's clock, which is the same for every process.
ACCEPTED_NOW = Q(state=SecretState.CURRENT) | Q(state=SecretState.PREVIOUS, expires_at__gt=Now())


class SecretQuerySet(models.QuerySet["IntegrationSecret"]):
    def of(self, integration: Integration, purpose: str) -> "SecretQuerySet":
        return self.filter(integration=integration, purpose=purpose)

    def used_late(self) -> "SecretQuerySet":
        return self.filter(late_uses__gt=0).order_by("-late_used_at", "id")

    def old(self, at: datetime) -> "SecretQuerySet":
        """In use for longer than 90 days, the oldest first."""
        return self.filter(state=SecretState.CURRENT, activated_at__lt=at - ROTATE_AFTER).order_by(
            "activated_at", "id"
        )


class IntegrationSecret(models.Model):
    """One key of an integration, kept as hex inside the encrypted value: 32 bytes that Posz made, or
    the text of a key that the partner gave.

    A previous one stays for a while after its end, so that its use can be noticed. `reminders`
    counts the quarters of its life of which staff have been told.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(Integration, models.CASCADE, related_name="secrets")
    purpose = models.CharField(_("purpose"), max_length=16, choices=Purpose)
    state = models.CharField(_("state"), max_length=8, choices=SecretState)
    value: Any = EncryptedJSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    activated_at = models.DateTimeField(_("in use since"), null=True)
    expires_at = models.DateTimeField(_("accepted until"), null=True)
    late_uses = models.PositiveIntegerField(_("uses after its end"), default=0, editable=False)
    late_used_at = models.DateTimeField(_("last use after its end"), null=True, editable=False)
    reminders = models.PositiveSmallIntegerField(default=0, editable=False)

    objects = SecretQuerySet.as_manager()

    class Meta:
        db_table = "integration_secret"
        verbose_name = _("secret")
        verbose_name_plural = _("secrets")
        constraints = [
            models.UniqueConstraint(
                fields=["integration", "purpose", "state"], name="one_secret_per_state"
            )
        ]

    def __str__(self) -> str:
        return f"{self.integration} {self.purpose} {self.state}"

    def quarters(self, at: datetime) -> int:
        """How many times 90 days it has been in use."""
        return (at - self.activated_at) // ROTATE_AFTER if self.activated_at else 0


class PartnerClient(models.Model):
    """What a partner asks for tokens with: an id that is no secret, and a secret of which only a
    hash is kept. After a rotation the one before is accepted for the overlap of the integration.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    integration = models.ForeignKey(
        Integration,
        models.CASCADE,
        related_name="partner_clients",
        verbose_name=_("integration"),
    )
    client_id = models.CharField(_("client id"), max_length=64, unique=True)
    digest = models.CharField(max_length=64, editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, editable=False)
    previous_until = models.DateTimeField(_("previous secret accepted until"), null=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    rotated_at = models.DateTimeField(_("secret made"), default=timezone.now)
    used_at = models.DateTimeField(_("last token"), null=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True)

    class Meta:
        db_table = "partner_client"
        verbose_name = _("client of a partner")
        verbose_name_plural = _("clients of partners")
        constraints = [
            models.UniqueConstraint(
                fields=["integration"],
                condition=Q(revoked_at__isnull=True),
                name="one_partner_client_at_work",
            )
        ]

    def __str__(self) -> str:
        return f"{self.integration} {self.client_id}"


class PartnerToken(models.Model):
    """A bearer token that Posz issued to a partner. Only its hash is kept."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    client = models.ForeignKey(PartnerClient, models.CASCADE, related_name="tokens")
    # Also here, so that a post is checked with one look at one row.
    integration = models.ForeignKey(Integration, models.CASCADE, related_name="+", db_index=False)
    issued_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(db_index=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "partner_token"

    def __str__(self) -> str:
        return f"{self.client_id} until {self.expires_at:%Y-%m-%d %H:%M}"


class EncryptionCanary(models.Model):
    """One row whose value opens if the keys of this process are those of this database."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    value: Any = EncryptedJSONField()

    class Meta:
        db_table = "encryption_canary"

    def __str__(self) -> str:
        return "canary"


class OAuthGrantQuerySet(models.QuerySet["OAuthGrant"]):
    def unleased(self, at: datetime) -> "OAuthGrantQuerySet":
        return self.filter(Q(lease_until=None) | Q(lease_until__lt=at))

    def due_for_refresh(self, at: datetime) -> "OAuthGrantQuerySet":
        return self.unleased(at).filter(
            refresh_due_at__lte=at, revoke_due_at=None, needs_reconnect=False
        )

    def due_for_revocation(self, at: datetime) -> "OAuthGrantQuerySet":
        used = Install.objects.filter(grant__isnull=False).values("grant_id")
        return self.unleased(at).filter(revoke_due_at__lte=at).exclude(pk__in=used)


class OAuthGrant(models.Model):
    """What a merchant's account at a partner allows Posz to do, for one install or, where a swap
    split that, for several.

    It outlives the install until the partner has been told to forget it: `revoke_due_at` set means
    that nobody uses it any more.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, related_name="oauth_grants", editable=False
    )
    integration = models.ForeignKey(
        Integration, models.PROTECT, related_name="oauth_grants", editable=False
    )
    tokens: Any = EncryptedJSONField()
    expires_at = models.DateTimeField(null=True, editable=False)
    granted_scopes = models.JSONField(default=list, editable=False)
    account_id = models.CharField(max_length=255, blank=True, editable=False)
    account_name = models.CharField(max_length=255, blank=True, editable=False)
    connected_by = models.CharField(max_length=254, editable=False)
    connected_at = models.DateTimeField(default=timezone.now, editable=False)
    refreshed_at = models.DateTimeField(null=True, editable=False)
    refresh_due_at = models.DateTimeField(null=True, editable=False)
    refresh_attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    problem = models.CharField(max_length=40, blank=True, editable=False)
    needs_reconnect = models.BooleanField(default=False, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    fencing_token = models.PositiveBigIntegerField(default=0, editable=False)
    revoke_due_at = models.DateTimeField(null=True, editable=False)
    revoke_attempts = models.PositiveSmallIntegerField(default=0, editable=False)

    objects = OAuthGrantQuerySet.as_manager()

    class Meta:
        db_table = "oauth_grant"
        verbose_name = _("connected account")
        verbose_name_plural = _("connected accounts")
        indexes = [
            models.Index(
                fields=["refresh_due_at"],
                condition=Q(refresh_due_at__isnull=False),
                name="grant_refresh_due",
            ),
            models.Index(
                fields=["revoke_due_at"],
                condition=Q(revoke_due_at__isnull=False),
                name="grant_revoke_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.integration} for {self.merchant}"

    @property
    def account(self) -> str:
        return self.account_name or self.account_id

    def is_expired(self, at: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= at


class OAuthState(models.Model):
    """One trip of one person to a partner's consent page. Only a hash of its state value is kept.

    The payload is encrypted: it holds the PKCE verifier and the settings so far.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="+", editable=False)
    merchant = models.ForeignKey(Merchant, models.CASCADE, related_name="+", editable=False)
    integration = models.ForeignKey(Integration, models.CASCADE, related_name="+", editable=False)
    location_id = models.UUIDField(null=True, editable=False)
    install_id = models.UUIDField(null=True, editable=False)
    redirect_uri = models.CharField(max_length=500, editable=False)
    payload: Any = EncryptedJSONField()
    grant = models.ForeignKey(
        OAuthGrant, models.SET_NULL, null=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(editable=False)
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "oauth_state"

    def __str__(self) -> str:
        return f"{self.integration} for {self.merchant}"


class SignInTrip(models.Model):
    """One trip of one browser to a merchant's sign-in service. Only a hash of its state value and of
    the browser's secret is kept.

    The payload is encrypted: it holds the PKCE verifier and the nonce.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    install = models.ForeignKey(Install, models.CASCADE, related_name="+", editable=False)
    redirect_uri = models.CharField(max_length=500, editable=False)
    next_path = models.CharField(max_length=500, blank=True, editable=False)
    payload: Any = EncryptedJSONField()
    expires_at = models.DateTimeField(editable=False, db_index=True)
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "sign_in_trip"

    def __str__(self) -> str:
        return f"{self.install}"


class LinkedAccount(models.Model):
    """A person's account at the sign-in service of one merchant, and good for that merchant alone.

    It is known by issuer and subject. The e-mail address is what the service said when it was linked.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merchant = models.ForeignKey(
        Merchant, models.CASCADE, related_name="linked_accounts", editable=False
    )
    user = models.ForeignKey(User, models.CASCADE, related_name="linked_accounts", editable=False)
    issuer = models.CharField(max_length=500, editable=False)
    subject = models.CharField(max_length=255, editable=False)
    email = models.EmailField(editable=False)
    linked_at = models.DateTimeField(default=timezone.now, editable=False)
    used_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "linked_account"
        verbose_name = _("linked account")
        verbose_name_plural = _("linked accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["merchant", "issuer", "subject"], name="one_link_per_subject"
            ),
            models.UniqueConstraint(
                fields=["merchant", "issuer", "user"], name="one_link_per_person"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.merchant}"


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def for_merchant(self, merchant_id: uuid.UUID) -> "AuditQuerySet":
        return self.filter(merchant_id=merchant_id)

    def latest_first(self) -> "AuditQuerySet":
        return self.order_by("-id")


class AuditEntry(models.Model):
    """What happened, when and by whom. Written once, never edited, and it outlives the install."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("time"), default=timezone.now, editable=False)
    merchant = models.ForeignKey(
        Merchant, models.PROTECT, null=True, editable=False, related_name="audit_entries"
    )
    integration_slug = models.CharField(_("integration"), max_length=64, blank=True, editable=False)
    install_id = models.UUIDField(_("install number"), null=True, editable=False)
    location_name = models.CharField(_("outlet"), max_length=120, blank=True, editable=False)
    actor = models.CharField(_("actor"), max_length=254, editable=False)
    action = models.CharField(_("action"), max_length=100, editable=False)
    data = models.JSONField(default=dict, editable=False)

    objects = AuditQuerySet.as_manager()

    class Meta:
        db_table = "audit_entry"
        verbose_name = _("audit entry")
        verbose_name_plural = _("audit log")
        indexes = [
            models.Index(fields=["merchant", "-id"], name="audit_of_merchant"),
            models.Index(fields=["install_id", "-id"], name="audit_of_install"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.action}"


class MappedKind(models.TextChoices):
    SKU = "sku", _("Item")
    EMPLOYEE = "employee", _("Employee")
    OUTLET = "outlet", _("Outlet")


class MappingState(models.TextChoices):
    OPEN = "open", _("Open")
    MAPPED = "mapped", _("Mapped")
    IGNORED = "ignored", _("Ignored")


class IdMappingQuerySet(models.QuerySet["IdMapping"]):
    def open(self) -> "IdMappingQuerySet":
        return self.filter(state=MappingState.OPEN)

    def in_order(self) -> "IdMappingQuerySet":
        """The longest open first."""
        return self.order_by("first_seen_at", "id")


class IdMapping(models.Model):
    """What a partner calls an item or a person of the merchant. Outlets have `OutletNumber`.

    Open ones were seen in an event and wait for somebody to say what they are in Posz.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    install = models.ForeignKey(
        Install, models.CASCADE, related_name="mappings", db_index=False, verbose_name=_("install")
    )
    kind = models.CharField(_("kind"), max_length=8, choices=MappedKind)
    external_id = models.CharField(_("id at the partner"), max_length=255)
    name = models.CharField(_("name at the partner"), max_length=200, blank=True)
    posz_id = models.CharField(_("id in Posz"), max_length=200, blank=True)
    state = models.CharField(
        _("state"), max_length=7, choices=MappingState, default=MappingState.OPEN
    )
    events = models.PositiveIntegerField(_("events"), default=0)
    first_seen_at = models.DateTimeField(_("first seen"), default=timezone.now)
    last_seen_at = models.DateTimeField(_("last seen"), default=timezone.now)

    objects = IdMappingQuerySet.as_manager()

    class Meta:
        db_table = "mapping"
        verbose_name = _("mapping")
        verbose_name_plural = _("mappings")
        constraints = [
            models.UniqueConstraint(
                fields=["install", "kind", "external_id"], name="one_mapping_per_external_id"
            )
        ]
        indexes = [
            models.Index(
                fields=["install", "first_seen_at"], condition=Q(state="open"), name="mapping_open"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.external_id}: {self.posz_id or self.state}"
