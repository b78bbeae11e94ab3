"""A small OAuth server on a real socket that does what a test tells it to, right or wrong."""

import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.partners import Partner, Reply, Request, as_json


class OAuthPartner(Partner):
    """Right by default: any code is good once, refresh tokens rotate, a used one ends the family.

    `token_reply`, `me_reply` and `revoke_reply` take the place of its answers.
    """

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.account: dict[str, Any] = {"id": "acct-1", "name": "Maple Roastery"}
        self.scope = "events:write"
        self.expires_in: Any = 3600
        self.token_reply: Reply | None = None
        self.me_reply: Reply | None = None
        self.revoke_reply: Reply | None = None
        self.events_reply = Reply(204)
        self.used: set[str] = set()
        self.dead: set[str] = set()
        self.revoked: list[str] = []
        self.refreshes = 0
        self._issued = 0
        self._lock = threading.Lock()

    def asked(self, path: str) -> list[dict[str, str]]:
        return [form_of(request) for request in self.requests if request.path == path]

    def _answer(self, request: Request) -> Reply:
        path = urlsplit(request.path).path
        if path == "/token":
            return self._token(form_of(request))
        if path == "/me":
            return self.me_reply or as_json(self.account)
        if path == "/revoke":
            self.revoked.append(form_of(request)["token"])
            return self.revoke_reply or Reply(200)
        return self.events_reply

    def _token(self, form: dict[str, str]) -> Reply:
        with self._lock:
            if form["grant_type"] == "refresh_token":
                self.refreshes += 1
            if self.token_reply is not None:
                return self.token_reply
            given = form.get("code") or form["refresh_token"]
            family = given.partition(".")[0]
            if given in self.used or family in self.dead:
                self.dead.add(family)
                return as_json({"error": "invalid_grant"}, 400)
            self.used.add(given)
            self._issued += 1
            return as_json(self.tokens(family, self._issued))

    def tokens(self, family: str, number: int) -> dict[str, Any]:
        return {
            "access_token": f"access-{family}.{number}",
            "refresh_token": f"{family}.{number}",
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "scope": self.scope,
        }


def form_of(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
