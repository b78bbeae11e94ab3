"""Where outbound calls may go: the block list and the one spelling of a URL that is accepted.

Nothing here touches the network. A name that passes may still lead to a private address, so
whoever connects must pass every resolved record through `is_public`.
"""

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.translation import gettext_lazy as _

# https://www.iana.org/assignments/iana-ipv4-special-registry and its IPv6 sister, plus multicast,
# the platform address of one cloud (168.63.129.16) and the IPv6 forms that carry an IPv4 address.
# Python's is_global is not used: it lets several of these through and changes between versions.
BLOCKED = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
        "::/128",
        "::1/128",
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
PORTS = (443, 8443)
PRIVATE_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa")

URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?:[/?].*)?", re.IGNORECASE)
AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[1-9][0-9]{0,4}))?")
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# What `inet_aton` takes for a number: a name ending so is read as an IPv4 address by resolvers.
NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str
    host: str
    port: int

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        try:
            return ip_address(self.host)
        except ValueError:
            return None


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return False
        parsed = parsed.ipv4_mapped or parsed
    return not any(parsed in network for network in BLOCKED)


def is_allowed(host: str, port: int) -> bool:
    """Whether the OUTBOUND_ALLOW setting names exactly this host, as spelled, and this port."""
    return (host.lower(), port) in _allowances(tuple(settings.OUTBOUND_ALLOW))


@cache
def _allowances(entries: tuple[str, ...]) -> frozenset[tuple[str, int]]:
    return frozenset(_allowance(entry) for entry in entries)


def _allowance(entry: str) -> tuple[str, int]:
    parts = AUTHORITY.fullmatch(entry.lower())
    if parts is None or not parts["host"] or not parts["port"]:
        raise ImproperlyConfigured(f"OUTBOUND_ALLOW holds {entry!r}, which is not host:port.")
    return parts["host"].strip("[]"), int(parts["port"])


def check_url(url: str) -> None:
    """Refuse every URL that an outbound call must not be made to, as far as its text shows it.

    Raises ValidationError with what to write instead. Only one spelling of a host is accepted, so
    that no two parsers can read different hosts from it.
    """
    target = split_url(url)
    allowed = is_allowed(target.host, target.port)
    _check_host(target, allowed=allowed)
    if allowed:
        return
    if target.scheme != "https" and settings.OUTBOUND_HTTPS_ONLY:
        raise ValidationError(_("Use an address that starts with https://."), code="scheme")
    if target.port not in PORTS:
        raise ValidationError(_("Use port 443 or 8443, or leave the port out."), code="port")


def split_url(url: str) -> Target:
    _check_characters(url)
    whole = URL.fullmatch(url)
    if whole is None:
        raise ValidationError(_("Write the whole address, starting with https://."), code="scheme")
    if "@" in whole["authority"]:
        raise ValidationError(
            _("Leave the user name and password out of the address."), code="userinfo"
        )
    parts = AUTHORITY.fullmatch(whole["authority"])
    if parts is None or not parts["host"]:
        raise ValidationError(
            _("Check the host and the port: write them as in https://example.com:8443/path."),
            code="host",
        )
    scheme, host = whole["scheme"].lower(), parts["host"].lower()
    port = int(parts["port"] or (443 if scheme == "https" else 80))
    if host.startswith("["):
        return Target(scheme, _ipv6_literal(host[1:-1]), port)
    return Target(scheme, host, port)


def _check_characters(url: str) -> None:
    if not url.isascii():
        raise ValidationError(
            _(
                "Use only ASCII characters: write an international host name as xn--… "
                "and percent-encode the rest."
            ),
            code="characters",
        )
    if "\\" in url or any(not "!" <= character <= "~" for character in url):
        raise ValidationError(
            _("Remove spaces, line breaks and backslashes from the address."), code="characters"
        )
    if "#" in url:
        raise ValidationError(_("Leave out the part from # on."), code="fragment")


def _ipv6_literal(text: str) -> str:
    """Python versions spell a v4-mapped address differently, so it has no canonical form here."""
    try:
        address = IPv6Address(text)
    except ValueError:
        address = None
    if address is None or str(address) != text or address.ipv4_mapped or address.scope_id:
        raise ValidationError(
            _("Write the IPv6 address in its shortest form, without a zone."), code="host"
        )
    return text


def _check_host(target: Target, *, allowed: bool) -> None:
    if target.address is not None:
        if not allowed and not is_public(target.address):
            raise ValidationError(
                _("This address is private or reserved. Use one that the internet can reach."),
                code="private",
            )
        return
    _check_name(target.host)
    if not allowed and _is_private_name(target.host):
        raise ValidationError(
            _("This host name is private. Use a name that the internet can resolve."),
            code="private",
        )


def _check_name(host: str) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise ValidationError(
            _("Check the host name: use letters, digits, hyphens and single dots between them."),
            code="host",
        )
    if NUMERIC_LABEL.fullmatch(labels[-1]):
        raise ValidationError(
            _("Write an IPv4 address as four decimal numbers, for example 1.2.3.4."), code="host"
        )


def _is_private_name(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{name}") for name in PRIVATE_NAMES)
