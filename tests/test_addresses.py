from ipaddress import ip_network

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.translation import override

from catalog.addresses import Target, check_url, is_allowed, is_public, split_url

PRIVATE_BLOCKS = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
    *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    *("168.63.129.16/32", "::/128", "::1/128", "::/96", "64:ff9b::/96", "64:ff9b:1::/48"),
    *("100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16"),
    *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
]
PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1"),
    *("192.0.1.1", "168.63.129.15", "198.17.255.255", "223.255.255.255"),
    *("2606:4700:4700::1111", "2400:3200::1", "2001:200::1", "::ffff:8.8.8.8"),
]
# Every spelling names a target that no outbound call may reach, or hides one from some parser.
FORBIDDEN_URLS = [
    "https://127.0.0.1/",
    "https://127.0.0.1:8443/",
    "https://127.255.255.254/",
    "https://0.0.0.0/",
    "https://0/",
    "https://00/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7F.0.0.0x1/",
    "https://127.0.0.0x1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0.0.01/",
    "https://127.0.0.01/",
    "https://127.0.0.1./",
    "https://127.0.0.256/",
    "https://4294967295/",
    "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11/",
    "https://127\u30020\u30020\u30021/",
    "https://\u24db\u24de\u24d2\u24d0lhost/",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0.0.1/",
    "https://local%68ost/",
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://192.168.1.1/",
    "https://198.18.0.1/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://168.63.129.16/",
    "https://[::]/",
    "https://[::1]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::127.0.0.1]/",
    "https://[::7f00:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::ffff:0:127.0.0.1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[100::1]/",
    "https://[2001::1]/",
    "https://[2001:db8::1]/",
    "https://[2002:7f00:1::]/",
    "https://[3fff::1]/",
    "https://[5f00::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[v1.x]/",
    "https://[::1/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://localhost.localdomain/",
    "https://api.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://router.lan/",
    "https://nas.home.arpa/",
    "https://intranet/",
    "https://redis/",
    "https://good.example./",
    "https://good..example/",
    "https://-good.example/",
    "https://under_score.example/",
    "https://*.example/",
    "https:///path",
    "https://",
    "https:good.example",
    "https:/good.example/",
    "//good.example/",
    "good.example/",
    "https:\\\\good.example\\",
    "https://127.0.0.1\\@good.example/",
    "https://good.example\\@127.0.0.1/",
    "https://user:secret@good.example/",
    "https://good.example@127.0.0.1/",
    "https://@good.example/",
    "https://good.example;@127.0.0.1/",
    "https://good.example#@127.0.0.1/",
    "https://good.example/#fragment",
    "https://good.example /",
    " https://good.example/",
    "https://good.example/\r\nHost: 127.0.0.1",
    "https://good.example/a\tb",
    "https://good.example/\x00",
    "https://good.example/\u00a0",
    "https://good.example:/",
    "https://good.example:80/",
    "https://good.example:22/",
    "https://good.example:6379/",
    "https://good.example:0443/",
    "https://good.example:+443/",
    "https://good.example:65979/",
    "https://good.example:443:443/",
    "http://good.example/",
    "http://good.example:443/",
    "ftp://good.example/",
    "file:///etc/passwd",
    "gopher://good.example:443/",
    "javascript:alert(1)",
    "data:text/plain,x",
    "unix:///var/run/docker.sock",
    "",
]


@pytest.fixture(autouse=True)
def production(settings):
    settings.OUTBOUND_ALLOW = []
    settings.OUTBOUND_HTTPS_ONLY = True


@pytest.mark.parametrize("block", PRIVATE_BLOCKS)
def test_address_in_private_block_is_not_public(block):
    network = ip_network(block)

    public = [is_public(network[0]), is_public(network[-1])]

    assert public == [False, False]


@pytest.mark.parametrize("address", PUBLIC)
def test_address_outside_the_blocks_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "2606:4700::1%eth0"],
)
def test_address_mapped_or_zoned_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["", "good.example", "2130706433", "0x7f000001", "8.8.8.08"])
def test_address_that_does_not_parse_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("url", FORBIDDEN_URLS)
def test_url_forbidden_is_refused(url):
    with pytest.raises(ValidationError):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://good.example",
        "https://good.example/",
        "https://good.example?a=b",
        "https://Good.Example:443/a/b?c=@d",
        "HTTPS://good.example:8443/~a/%20",
        "https://xn--bcher-kva.example/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]:8443/",
        "https://3com.example/",
    ],
)
def test_url_public_is_accepted(url):
    check_url(url)


def test_url_http_is_accepted_where_https_is_not_required(settings):
    settings.OUTBOUND_HTTPS_ONLY = False

    check_url("http://good.example:8443/")


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("127.0.0.1:8001", "http://127.0.0.1:8001/hook"),
        ("localhost:8001", "http://LOCALHOST:8001/hook"),
        ("[::1]:8001", "http://[::1]:8001/hook"),
        ("sandbox:80", "http://sandbox/hook"),
    ],
)
def test_url_allow_listed_is_accepted(settings, entry, url):
    settings.OUTBOUND_ALLOW = [entry]

    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8002/",
        "http://127.0.0.2:8001/",
        "http://localhost:8001/",
        "http://2130706433:8001/",
        "http://127.1:8001/",
        "http://x@127.0.0.1:8001/",
        "http://127.0.0.1.:8001/",
    ],
)
def test_url_beside_an_allow_listed_one_is_refused(settings, url):
    settings.OUTBOUND_ALLOW = ["127.0.0.1:8001"]

    with pytest.raises(ValidationError):
        check_url(url)


@pytest.mark.parametrize("entry", ["127.0.0.1", "localhost:", ":8001", "localhost:http", "a:b:1"])
def test_allowance_malformed_stops(settings, entry):
    settings.OUTBOUND_ALLOW = [entry]

    with pytest.raises(ImproperlyConfigured):
        is_allowed("localhost", 8001)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://Good.Example/a", Target("https", "good.example", 443)),
        ("http://good.example?b", Target("http", "good.example", 80)),
        ("https://[2606:4700::1]:8443", Target("https", "2606:4700::1", 8443)),
    ],
)
def test_url_splits_into_its_target(url, target):
    assert split_url(url) == target


def test_url_refusal_says_what_to_do():
    with override("en"), pytest.raises(ValidationError) as refusal:
        check_url("https://good.example:22/")

    assert refusal.value.messages == ["Use port 443 or 8443, or leave the port out."]
