"""Catalog rows that ship with the product, and the demo world of a first try."""

import uuid
from secrets import token_urlsafe
from typing import Any

from django.conf import settings
from django.db import transaction

from catalog.capabilities import CAPABILITIES, Direction
from catalog.models import AuthShape, Integration, IntegrationStatus
from dispatch.operations import all_operations, contract_of, told_operations
from dispatch.sandbox.oauth import CLIENT_ID, SCOPES
from installs.credentials import client_secret, ensure_secrets, set_client_secret
from installs.models import ApiToken, Location, Membership, Merchant, Role, User

DOMAIN_EVENTS = ["order.paid", "refund.created", "settings.changed"]
DEMO = uuid.UUID("5f0a3c52-9d0e-4c8e-9b6d-0d6b0f4a2a10")

SPLITEASY = {
    "category_id": "receipt",
    "status": IntegrationStatus.AVAILABLE,
    "name_en": "SplitEasy",
    "name_id": "SplitEasy",
    "tagline_en": "Guests scan the receipt and split the bill themselves",
    "tagline_id": "Tamu memindai struk dan membagi tagihan sendiri",
    "description_en": (
        "Every receipt gets a QR code. Guests scan it, choose who had what, and each pays their "
        "share from their own phone. No app, no account, and nothing to set up: install it and the "
        "next receipt carries the code. When a table has settled, you see it in your activity log."
    ),
    "description_id": (
        "Setiap struk mendapat kode QR. Tamu memindainya, memilih siapa memesan apa, lalu masing-"
        "masing membayar bagiannya dari ponsel sendiri. Tanpa aplikasi, tanpa akun, tanpa pengaturan: "
        "pasang, dan struk berikutnya sudah membawa kodenya. Saat satu meja lunas, Anda melihatnya di "
        "catatan aktivitas."
    ),
    "logo": "logos/spliteasy.svg",
    "auth_shape": AuthShape.PLATFORM_SHARED,
    "capabilities": {"receipt_qr": 1, "payment_webhook_inbound": 1},
    "api_base_url": "https://api.spliteasy.uncle-z.com",
    "landing_base_url": "https://s.uncle-z.com/b",
    "outbound_events": DOMAIN_EVENTS,
    "outbound_url": "https://api.spliteasy.uncle-z.com/v1/external/events",
    "inbound_events": {
        "bill.settled": "payment_webhook_inbound",
        "bill.expired": "payment_webhook_inbound",
        "bill.cancelled": "payment_webhook_inbound",
    },
    "data_residency": "id",
    "website_url": "https://s.uncle-z.com",
    "support_email": "posz@uncle-z.com",
}

DEMO_QR = {
    "demo-qr-a": ("Review Corner", "Pojok Ulasan", "Rate your visit", "Nilai kunjungan Anda"),
    "demo-qr-b": ("Stamp Card", "Kartu Stempel", "Collect your stamp", "Ambil stempel Anda"),
    "demo-qr-c": ("Tip Jar", "Kotak Tip", "Tip the team", "Beri tip untuk tim"),
    "demo-qr-d": ("Lucky Draw", "Undian Meja", "Win your next coffee", "Menangkan kopi berikutnya"),
}

MERCHANTS: list[dict[str, Any]] = [
    {
        "name": "Maple & Oat",
        "email": "hello@mapleandoat.id",
        "phone": "+622150001234",
        "city": "Jakarta",
        "locations": [
            ("Senopati", "Jakarta", "Jl. Senopati 41", "Asia/Jakarta", 500),
            ("Ubud", "Bali", "Jl. Raya Ubud 8", "Asia/Makassar", 1000),
            ("Bandung", "Bandung", "Jl. Braga 12", "Asia/Jakarta", 500),
        ],
        "people": [
            ("owner@mapleandoat.id", "Ayu Lestari", Role.OWNER),
            ("manager@mapleandoat.id", "Bima Putra", Role.MANAGER),
            ("viewer@mapleandoat.id", "Citra Dewi", Role.VIEWER),
        ],
    },
    {
        "name": "Warung Bu Sari",
        "email": "halo@warungbusari.id",
        "phone": "",
        "city": "Yogyakarta",
        "locations": [("Prawirotaman", "Yogyakarta", "Jl. Prawirotaman 5", "Asia/Jakarta", 0)],
        "people": [
            ("owner@warungbusari.id", "Sari Wulandari", Role.OWNER),
            ("owner@mapleandoat.id", "Ayu Lestari", Role.OWNER),
        ],
    },
]
PASSWORD = "maple-oat-demo-2026"  # noqa: S105 - the demo world's, printed at every start
STAFF = "staff@posz.id"


def seed_catalog() -> Integration:
    """Make the rows that ship with working code where they are missing; staff own them after."""
    row, is_new = Integration.objects.get_or_create(slug="spliteasy", defaults=SPLITEASY)
    if is_new:
        row.full_clean()
    return row


@transaction.atomic
def seed_demo(tokens: dict[str, str]) -> dict[str, Any]:
    """Build the demo world, or find it as it is; return what a newcomer needs to use it.

    `tokens` maps token names to their clear values, so that a second run names the same ones.
    """
    integrations = [_at_sandbox(seed_catalog(), "events/spliteasy"), *_demo_partners()]
    merchants = [_merchant(index, row) for index, row in enumerate(MERCHANTS)]
    users = [user for merchant, row in merchants for user in _people(merchant, row["people"])]
    User.objects.filter(email=STAFF).exists() or User.objects.create_superuser(
        STAFF, PASSWORD, name="Posz Staff"
    )
    users.append({"email": STAFF, "password": PASSWORD, "role": "staff", "merchant": None})
    return {
        "merchants": [_as_json(merchant) for merchant, _row in merchants],
        "users": users,
        "pos_token": _token(tokens, "demo-pos", None),
        "merchant_tokens": {
            str(merchant.pk): _token(tokens, f"demo-{merchant.pk}", merchant)
            for merchant, _row in merchants
        },
        "integrations": {
            row.slug: {f"{purpose}_secret": value for purpose, value in ensure_secrets(row).items()}
            for row in integrations
        },
    }


DEMO_TABLE = {
    "demo-table-a": ("Table Pay", "Bayar Meja", "Guests pay at the table", "Tamu bayar di meja"),
    "demo-table-b": ("Quick Check", "Cek Cepat", "Scan, pay, leave", "Pindai, bayar, pulang"),
}
DEMO_GREETING = ("Warm Words", "Kata Hangat", "A greeting on the receipt", "Salam di struk")
MERCHANT_KEY: dict[str, Any] = {
    "auth_shape": AuthShape.MERCHANT_KEY,
    "config_schema": {
        "type": "object",
        "properties": {
            "api_key": {
                "type": "string",
                "title": "API key",
                "x-title-id": "Kunci API",
                "x-help-en": "The partner sandbox accepts demo-valid-key.",
                "x-help-id": "Partner sandbox menerima demo-valid-key.",
                "maxLength": 200,
                "x-secret": True,
                "x-order": 1,
            },
            "greeting": {
                "type": "string",
                "title": "Greeting",
                "x-title-id": "Salam",
                "x-help-en": "Printed above the totals of each receipt.",
                "x-help-id": "Dicetak di atas total setiap struk.",
                "x-placeholder-en": "See you at the weekend!",
                "x-placeholder-id": "Sampai jumpa akhir pekan!",
                "maxLength": 96,
                "x-order": 2,
            },
        },
        "required": ["api_key"],
    },
    "request_auth": {"scheme": "bearer", "field": "api_key"},
    "verification_request": {
        "method": "GET",
        "path": "/posz/v1/verify",
        "headers": {"Authorization": "Bearer {config.api_key}"},
        "accept": [200],
        "wrong_key": [401, 403],
    },
}
DEMO_TEXTS = {
    "receipt_pretext": {
        "category_id": "receipt",
        "description_en": (
            "A demo partner that prints a greeting of yours above the totals. It wants a key of its "
            "own, so you see how a key is pasted, tested, replaced and removed."
        ),
        "description_id": (
            "Mitra demo yang mencetak salam Anda di atas total. Mitra ini memakai kunci sendiri, jadi "
            "Anda melihat cara menempel, menguji, mengganti, dan menghapus kunci."
        ),
    },
    "receipt_qr": {
        "category_id": "receipt",
        "description_en": (
            "A demo partner that adds a QR code of its own to the receipt. Install several to see "
            "how codes stack, up to three at one outlet."
        ),
        "description_id": (
            "Mitra demo yang menambahkan kode QR sendiri ke struk. Pasang beberapa untuk melihat "
            "kode bertumpuk, paling banyak tiga di satu outlet."
        ),
    },
    "pay_at_table": {
        "category_id": "payments",
        "description_en": (
            "A demo partner that takes over paying at the table. Only one can do that at an outlet, "
            "so installing the second one shows how a switch works."
        ),
        "description_id": (
            "Mitra demo yang mengambil alih pembayaran di meja. Hanya satu yang bisa melakukannya di "
            "satu outlet, jadi memasang yang kedua menunjukkan cara beralih."
        ),
    },
}


DEMO_PARTNER: dict[str, Any] = {
    "category_id": "analytics",
    "is_demo": True,
    "name_en": "Test Partner",
    "name_id": "Mitra Uji",
    "tagline_en": "One partner for every place in Posz",
    "tagline_id": "Satu mitra untuk semua tempat di Posz",
    "description_en": (
        "A demo partner that can do whatever an integration can do: codes and lines on receipts, "
        "payments, bookings, delivery orders, loyalty, messages, and exports of all kinds. Install it "
        "at one outlet and try each of them there. Only signing in is not among them."
    ),
    "description_id": (
        "Mitra demo yang bisa melakukan semua yang bisa dilakukan integrasi: kode dan baris di struk, "
        "pembayaran, reservasi, pesanan antar, loyalitas, pesan, dan segala macam ekspor. Pasang di "
        "satu outlet dan coba semuanya di sana. Hanya login yang tidak termasuk."
    ),
    "auth_shape": AuthShape.PLATFORM_SHARED,
    "data_residency": "id",
}


DEMO_OAUTH: dict[str, Any] = {
    "category_id": "crm",
    "status": IntegrationStatus.AVAILABLE,
    "is_demo": True,
    "name_en": "Guest Book",
    "name_id": "Buku Tamu",
    "tagline_en": "Connect your account and follow your regulars",
    "tagline_id": "Hubungkan akun Anda dan kenali pelanggan tetap",
    "description_en": (
        "A demo partner that you connect with an account of your own. You are taken to its consent "
        "page, choose an account, and come back connected. Every paid order is then sent to it."
    ),
    "description_id": (
        "Mitra demo yang dihubungkan dengan akun Anda sendiri. Anda dibawa ke halaman persetujuannya, "
        "memilih akun, lalu kembali dalam keadaan terhubung. Setiap pesanan yang dibayar dikirim ke "
        "sana."
    ),
    "auth_shape": AuthShape.OAUTH,
    "capabilities": {"customer_event_export": 1},
    "outbound_events": ["order.paid"],
    "data_residency": "id",
}


OPENID: dict[str, Any] = {
    "category_id": "hr",
    "name_en": "Your own sign-in",
    "name_id": "Login Anda sendiri",
    "tagline_en": "Your team signs in with the accounts it already has",
    "tagline_id": "Tim Anda masuk dengan akun yang sudah dimiliki",
    "description_en": (
        "Connect the OpenID Connect provider of your business: Google Workspace, Microsoft Entra, "
        "Keycloak and others. Everybody who works with Posz Hub then signs in there, and whoever "
        "leaves your business is locked out here too. Groups at the provider can decide who is an "
        "owner, a manager or a viewer. Should the provider ever fail, owners still get in with "
        "their password."
    ),
    "description_id": (
        "Hubungkan penyedia OpenID Connect bisnis Anda: Google Workspace, Microsoft Entra, Keycloak, "
        "dan lainnya. Semua orang yang memakai Posz Hub lalu masuk lewat sana, dan siapa pun yang "
        "keluar dari bisnis Anda juga tidak bisa masuk lagi di sini. Grup di penyedia dapat "
        "menentukan siapa pemilik, manajer, atau pemantau. Bila penyedia bermasalah, pemilik tetap "
        "dapat masuk dengan kata sandi."
    ),
    "auth_shape": AuthShape.MERCHANT_KEY,
    "capabilities": {"auth_provider": 1},
    "data_residency": "id",
}


def _openid_field(order: int, title: str, title_id: str, **rules: Any) -> dict[str, Any]:
    """A setting of the sign-in service. What is true or false is no text."""
    text = {} if rules.get("type") == "boolean" else {"type": "string", "maxLength": 400}
    fixed = {"title": title, "x-title-id": title_id, "x-order": order, "x-scope": "merchant"}
    return text | fixed | rules


OPENID_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["issuer", "client_id", "client_secret"],
    "properties": {
        "issuer": _openid_field(
            1,
            "Issuer",
            "Penerbit (issuer)",
            format="uri",
            **{
                "x-help-en": "Exactly as your provider writes it, such as "
                "https://accounts.google.com. Mind a slash at the end.",
                "x-help-id": "Persis seperti ditulis penyedia Anda, misalnya "
                "https://accounts.google.com. Perhatikan garis miring di akhir.",
            },
        ),
        "client_id": _openid_field(2, "Client ID", "Client ID"),
        "client_secret": _openid_field(3, "Client secret", "Client secret", **{"x-secret": True}),
        "link_by_email": _openid_field(
            4,
            "Recognise members by their e-mail address",
            "Kenali anggota dari alamat e-mail",
            type="boolean",
            default=True,
            **{
                "x-help-en": "The first time somebody signs in. Only people who already work for "
                "you here, and only addresses that the provider calls verified.",
                "x-help-id": "Saat seseorang masuk pertama kali. Hanya orang yang sudah bekerja "
                "untuk Anda di sini, dan hanya alamat yang terverifikasi di penyedia.",
            },
        ),
        "domains": _openid_field(
            5,
            "Accepted e-mail domains",
            "Domain e-mail yang diterima",
            **{
                "x-help-en": "Separated by commas. Empty accepts all; fill it in where everybody can "
                "have an account at the provider.",
                "x-help-id": "Dipisahkan koma. Kosong berarti semua diterima; isi bila siapa saja "
                "dapat memiliki akun di penyedia.",
                "x-placeholder-en": "mapleandoat.id",
                "x-placeholder-id": "mapleandoat.id",
            },
        ),
        "group_claim": _openid_field(
            6, "Name of the claim with groups", "Nama klaim berisi grup", default="groups"
        ),
        "owner_groups": _openid_field(
            7,
            "Groups of owners",
            "Grup pemilik",
            **{
                "x-help-en": "Separated by commas. As soon as one of the three is filled in, groups "
                "decide at every sign-in, and whoever is in none of them is refused.",
                "x-help-id": "Dipisahkan koma. Begitu salah satu dari ketiganya diisi, grup "
                "menentukan setiap kali masuk, dan yang tidak termasuk akan ditolak.",
            },
        ),
        "manager_groups": _openid_field(8, "Groups of managers", "Grup manajer"),
        "viewer_groups": _openid_field(9, "Groups of viewers", "Grup pemantau"),
        "create_people": _openid_field(
            10,
            "Let in people who do not work for you here yet",
            "Terima orang yang belum bekerja untuk Anda di sini",
            type="boolean",
            default=False,
            **{
                "x-help-en": "With the role of their group, and nobody without one.",
                "x-help-id": "Dengan peran grupnya; tanpa grup tidak diterima.",
            },
        ),
        "password_fallback": _openid_field(
            11,
            "Passwords while the provider does not answer",
            "Kata sandi selama penyedia tidak menjawab",
            type="boolean",
            default=True,
            **{
                "x-help-en": "For an hour each time. Owners can always use their password in an "
                "emergency.",
                "x-help-id": "Selama satu jam setiap kali. Pemilik selalu dapat memakai kata sandi "
                "dalam keadaan darurat.",
            },
        ),
        "extra_scopes": _openid_field(
            12,
            "Further scopes",
            "Scope tambahan",
            **{
                "x-help-en": "Where your provider wants one for groups. Separated by spaces.",
                "x-help-id": "Bila penyedia Anda mensyaratkannya untuk grup. Dipisahkan spasi.",
            },
        ),
    },
}


def _openid() -> Integration:
    """A real integration: the merchant names the provider."""
    row = Integration.objects.filter(slug="openid-connect").first()
    if row is None:
        status = IntegrationStatus.AVAILABLE
        row = Integration(
            slug="openid-connect", status=status, config_schema=OPENID_SCHEMA, **OPENID
        )
        row.full_clean()
        row.save(force_insert=True)
    return row


def _demo_partners() -> list[Integration]:
    return [
        *(_demo(slug, "receipt_qr", *texts) for slug, texts in DEMO_QR.items()),
        *(_demo(slug, "pay_at_table", *texts) for slug, texts in DEMO_TABLE.items()),
        _demo("demo-key", "receipt_pretext", *DEMO_GREETING, settings_of=MERCHANT_KEY),
        _demo_partner(),
        _demo_oauth(),
        _openid(),
    ]


def _demo_partner() -> Integration:
    """It has every capability that goes over the Posz contract, and hears of all that these are told."""
    capabilities = {name: max(item.versions) for name, item in CAPABILITIES.items()}
    # Who signs in where is decided for a whole business, not for the outlet of a try.
    del capabilities["auth_provider"]
    told = {
        event
        for contract, operation in all_operations()
        if operation.direction is Direction.OUTBOUND and contract.capability in capabilities
        for event in operation.events
    }
    posted = {
        operation.name: contract.capability
        for contract, operation in told_operations()
        if contract.capability in capabilities
    }
    # Of customers it gets what the merchant lets out, and nothing unless asked for.
    gate = contract_of("customer_export", 1).config_schema()["properties"]
    settings_of = {
        **DEMO_PARTNER,
        "config_schema": {
            "type": "object",
            "properties": {name: gate[name] for name in ("purposes", "fields")},
        },
        "capabilities": capabilities,
        "outbound_events": sorted(told),
        "inbound_events": posted,
    }
    row = _played("demo-partner", settings_of)
    # A row of an earlier start may say less of its choices.
    if row.config_schema != settings_of["config_schema"]:
        row.config_schema = settings_of["config_schema"]
        row.save(update_fields=["config_schema"])
    return row


def _demo_oauth() -> Integration:
    """Played by the sandbox, its OAuth server included."""
    addresses = _demo_oauth_addresses()
    row = Integration.objects.filter(slug="demo-oauth").first()
    if row is None:
        row = Integration(slug="demo-oauth", **DEMO_OAUTH, **addresses)
        row.full_clean()
        row.save(force_insert=True)
    elif any(getattr(row, name) != value for name, value in addresses.items()):
        for name, value in addresses.items():
            setattr(row, name, value)
        row.save(update_fields=list(addresses))
    if not client_secret(row.slug):
        set_client_secret(row, token_urlsafe(32))
    return row


def _demo_oauth_addresses() -> dict[str, Any]:
    """Those that move with the sandbox's port."""
    base = f"{_sandbox()}/demo/demo-oauth"
    return {
        "api_base_url": base,
        "outbound_url": f"{_sandbox()}/events/demo-oauth",
        "oauth_settings": {
            "authorize_url": f"{base}/authorize",
            "token_url": f"{base}/token",
            "revoke_url": f"{base}/revoke",
            "account": {"url": f"{base}/me", "pointer": "/id", "name_pointer": "/name"},
            "client_id": CLIENT_ID,
            "scopes": list(SCOPES),
            "token_auth": "basic",
        },
    }


def _demo(
    slug: str,
    capability: str,
    name_en: str,
    name_id: str,
    line_en: str,
    line_id: str,
    *,
    settings_of: dict[str, Any] | None = None,
) -> Integration:
    texts = {
        "name_en": name_en,
        "name_id": name_id,
        "tagline_en": line_en,
        "tagline_id": line_id,
    }
    fixed = {
        **DEMO_TEXTS[capability],
        "is_demo": True,
        "auth_shape": AuthShape.PLATFORM_SHARED,
        "capabilities": {capability: 1},
        "outbound_events": ["order.paid"],
        "data_residency": "id",
    }
    return _played(slug, {**fixed, **texts, **(settings_of or {})})


def _played(slug: str, fields: dict[str, Any]) -> Integration:
    """A row that is available from the start, at the sandbox's address of today."""
    addresses = {
        "api_base_url": f"{_sandbox()}/demo/{slug}",
        "outbound_url": f"{_sandbox()}/events/{slug}",
    }
    row, is_new = Integration.objects.get_or_create(slug=slug, defaults={**addresses, **fields})
    if is_new:
        row.status = IntegrationStatus.AVAILABLE
        row.full_clean()
        row.save(update_fields=["status"])
        return row
    return _moved(row, f"demo/{slug}", f"events/{slug}")


def _at_sandbox(row: Integration, events_path: str) -> Integration:
    return _moved(row, "", events_path, landing=f"{_sandbox()}/b")


def _moved(row: Integration, api_path: str, events_path: str, landing: str = "") -> Integration:
    """Point a row at the sandbox's address of today: the port may have changed."""
    wanted = {
        "api_base_url": f"{_sandbox()}/{api_path}".rstrip("/"),
        "outbound_url": f"{_sandbox()}/{events_path}",
        "landing_base_url": landing,
    }
    if any(getattr(row, name) != value for name, value in wanted.items()):
        for name, value in wanted.items():
            setattr(row, name, value)
        row.save(update_fields=list(wanted))
    return row


def _sandbox() -> str:
    return f"http://127.0.0.1:{settings.SANDBOX_PORT}"


def _merchant(index: int, row: dict[str, Any]) -> tuple[Merchant, dict[str, Any]]:
    merchant, is_new = Merchant.objects.get_or_create(
        pk=uuid.uuid5(DEMO, f"merchant-{index}"),
        defaults={key: row[key] for key in ("name", "email", "phone", "city")},
    )
    if is_new:
        for number, (name, city, address, zone, service) in enumerate(row["locations"]):
            Location.objects.create(
                pk=uuid.uuid5(DEMO, f"location-{index}-{number}"),
                merchant=merchant,
                name=name,
                city=city,
                address=address,
                timezone=zone,
                service_rate_bp=service,
            )
    return merchant, row


def _people(merchant: Merchant, people: list[tuple[str, str, Role]]) -> list[dict[str, Any]]:
    listed = []
    for email, name, role in people:
        user = User.objects.filter(email=email).first() or User.objects.create_user(
            email, PASSWORD, name=name
        )
        Membership.objects.get_or_create(user=user, merchant=merchant, defaults={"role": role})
        listed.append(
            {"email": email, "password": PASSWORD, "role": str(role), "merchant": merchant.name}
        )
    return listed


def _token(tokens: dict[str, str], name: str, merchant: Merchant | None) -> str:
    known = tokens.get(name)
    if known and ApiToken.objects.filter(digest=ApiToken.digest_of(known)).exists():
        return known
    tokens[name] = ApiToken.issue(name, merchant=merchant)
    return tokens[name]


def _as_json(merchant: Merchant) -> dict[str, Any]:
    return {
        "id": str(merchant.pk),
        "name": merchant.name,
        "locations": [
            {"id": str(item.pk), "name": item.name, "city": item.city}
            for item in merchant.locations.all()
        ],
    }
