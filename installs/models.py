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
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from catalog.models import Integration
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
    """One 32-byte key of an integration, kept as hex inside the encrypted value.

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
