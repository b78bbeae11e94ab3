"""Owners and managers who sign in with their company's account, in place of a password."""

from abc import abstractmethod
from typing import Annotated, Any, Literal

from msgspec import Meta

from catalog.capabilities import Direction
from dispatch.contracts import Adapter, Call, PartnerEvent
from dispatch.operations.common import OUTLET_ID
from dispatch.operations.notation import (
    Command,
    Contract,
    Email,
    Failure,
    Operation,
    Record,
    Text,
    Url,
    Wire,
    Words,
    flag,
    secret,
    text,
)


class SignIn(Command, frozen=True):
    """The parameters with which a browser is sent to the provider (OpenID Connect Core, 3.1.2.1)."""

    response_type: Literal["code"]
    client_id: Text
    redirect_uri: Url
    scope: Text
    state: Annotated[str, Meta(min_length=16, max_length=200)]
    nonce: Annotated[str, Meta(min_length=16, max_length=200)]
    code_challenge: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{43}$")]
    code_challenge_method: Literal["S256"]
    login_hint: Text | None = None


class Identity(Record, frozen=True):
    """Who somebody is: by issuer and subject, never by e-mail address alone."""

    issuer: Url
    subject: Text
    email: Email | None = None
    email_verified: bool | None = None
    name: Text | None = None
    groups: tuple[Text, ...] = ()
    outlet_ids: tuple[Text, ...] = ()
    role_code: Text | None = None
    locale: Text | None = None


class DirectoryQuestion(Command, frozen=True):
    cursor: Text | None = None


class Person(Record, frozen=True):
    subject: Text
    name: Text
    is_active: bool
    email: Email | None = None
    groups: tuple[Text, ...] = ()


class Directory(Record, frozen=True):
    people: Annotated[tuple[Person, ...], Meta(max_length=500)]
    next: Text | None = None


class EndedSession(Record, frozen=True):
    issuer: Url
    subject: Text
    session_id: Text | None = None


class AuthProviderAdapter(Adapter):
    @abstractmethod
    def people(self, call: Call, request: DirectoryQuestion) -> Directory:
        """The people of the merchant who may sign in, page by page."""

    @abstractmethod
    def ended_session(self, event: PartnerEvent) -> EndedSession:
        """Somebody signed out at the provider, or was locked out there."""


PERSON: dict[str, Any] = {
    "subject": "0f6c2b7e",
    "name": "Ayu Lestari",
    "email": "ayu@mapleandoat.id",
    "groups": ["pemilik"],
    "is_active": True,
}

CONTRACTS = (
    Contract(
        capability="auth_provider",
        adapter=AuthProviderAdapter,
        words=Words(
            "Posz sends the browser of an owner or manager to you to sign in (OpenID Connect). It may "
            "ask for your directory, and you tell when a session ends.",
            "Posz mengarahkan peramban pemilik atau manajer ke Anda untuk masuk (OpenID Connect). Posz "
            "dapat meminta direktori Anda, dan Anda mengabarkan sesi yang berakhir.",
        ),
        failure=Words(
            "Nobody is let in on a failure. The owner can still sign in with the password, and tills "
            "keep their PIN.",
            "Kegagalan tidak pernah meloloskan siapa pun. Pemilik tetap dapat masuk dengan kata sandi, "
            "dan kasir tetap memakai PIN.",
        ),
        operations=(
            Operation(
                name="login",
                words=Words(
                    "Sign somebody in: authorization code with PKCE. The identity comes from an "
                    "id_token signed with RS256 or ES256.",
                    "Masukkan seseorang: kode otorisasi dengan PKCE. Identitas berasal dari id_token "
                    "bertanda tangan RS256 atau ES256.",
                ),
                request=SignIn,
                answer=Identity,
                request_example={
                    "response_type": "code",
                    "client_id": "posz-maple",
                    "redirect_uri": "https://hub.posz.example/accounts/oidc/callback",
                    "scope": "openid email profile",
                    "state": "n0c8QmSCrH2b7YtW",
                    "nonce": "cJ4vXq1ZkTgA9LmR",
                    "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
                    "code_challenge_method": "S256",
                },
                answer_example={
                    "issuer": "https://login.mapleandoat.id",
                    "subject": "0f6c2b7e",
                    "email": "ayu@mapleandoat.id",
                    "email_verified": True,
                    "name": "Ayu Lestari",
                    "groups": ["pemilik"],
                    "outlet_ids": [OUTLET_ID],
                    "role_code": "owner",
                    "locale": "id-ID",
                },
                failure=Failure.BUILT_IN,
                wire=Wire.OPENID_CONNECT,
            ),
            Operation(
                name="directory.sync",
                words=Words(
                    "List the people who may sign in.", "Daftarkan orang yang boleh masuk."
                ),
                request=DirectoryQuestion,
                answer=Directory,
                request_example={},
                answer_example={"people": [PERSON]},
                failure=Failure.NOT_DONE,
                method=AuthProviderAdapter.people,
            ),
            Operation(
                name="session.revoked",
                direction=Direction.INBOUND,
                words=Words(
                    "You tell that a session has ended.", "Anda mengabarkan sesi yang berakhir."
                ),
                request=EndedSession,
                request_example={
                    "issuer": "https://login.mapleandoat.id",
                    "subject": "0f6c2b7e",
                },
                failure=Failure.SEND_AGAIN,
                method=AuthProviderAdapter.ended_session,
                key=("issuer", "subject"),
            ),
        ),
        config={
            "issuer": text("Issuer", "Penerbit", format="uri"),
            "client_id": text("Client id", "ID klien"),
            "client_secret": secret("Client secret", "Rahasia klien"),
            "scopes": text("Scopes", "Cakupan"),
            "group_owner": text("Group of owners", "Grup pemilik"),
            "group_manager": text("Group of managers", "Grup manajer"),
            "email_domain": text("Allowed e-mail domain", "Domain e-mail yang diizinkan"),
            "enforce": flag("Only this way, but for the owner", "Wajib, kecuali pemilik"),
        },
    ),
)
