"""Where messages may go: hostile addresses, names that change what they mean, redirects, slow and broken answers."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from serving import Served, served

from crossmargin.apps.monitor.outward import Policy, checked, post
from crossmargin.errors import VenueError

NAMES = {
    "good.example": ["93.184.215.14"],
    "both.example": ["93.184.215.14", "10.0.0.1"],
    "inside.example": ["192.168.1.10"],
    "loop.example": ["127.0.0.1"],
    "localhost": ["127.0.0.1"],
    "localhost.": ["127.0.0.1"],
    "metadata.google.internal": ["169.254.169.254"],
    "six.example": ["::1"],
    "mapped.example": ["::ffff:10.0.0.1"],
    "nat.example": ["64:ff9b::a00:1"],
    "sixtofour.example": ["2002:a00:1::1"],
    "nothing.example": [],
    "zone.example": ["fe80::1%eth0"],
}


def resolve(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise socket.gaierror("Name or service not known")
    return NAMES[host]


HOSTILE = [
    "http://good.example/",
    "ftp://good.example/",
    "file:///etc/passwd",
    "//good.example/",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "https://good.example:22/",
    "https://good.example:99999/",
    "https://good.example:-1/",
    "https://user:pass@good.example/",
    "https://good.example@127.0.0.1/",
    "https://good.example/#fragment",
    "https://good.example\\@127.0.0.1/",
    "https://good.example/\r\nHost: evil",
    "https://good .example/",
    "https://gооd.example/",  # Cyrillic letters
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1./",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://192.0.2.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::127.0.0.1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00:ec2::254]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2002:7f00:1::]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2001:db8::1]/",
    "https://[v1.x]/",
    *(f"https://{name}/" for name in NAMES if name != "good.example"),
    "https://unknown.example/",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_addresses_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(VenueError) as caught:
        checked(url, Policy(), resolve)
    assert url not in str(caught.value)


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "addresses"),
    [
        ("https://good.example/a/b?c=d", "good.example", 443, "/a/b?c=d", ("93.184.215.14",)),
        ("https://GOOD.example:8443", "good.example", 8443, "/", ("93.184.215.14",)),
        ("https://93.184.215.14/", "93.184.215.14", 443, "/", ("93.184.215.14",)),
        ("https://[2606:2800:21f::1]/", "2606:2800:21f::1", 443, "/", ("2606:2800:21f::1",)),
    ],
)
def test_public_addresses_are_taken(url: str, host: str, port: int, path: str, addresses: tuple[str, ...]) -> None:
    found = checked(url, Policy(), resolve)
    assert (found.host, found.port, found.path, found.addresses, found.secure) == (host, port, path, addresses, True)


def test_an_operator_may_open_the_own_network_and_close_all_others() -> None:
    own = Policy(private=True, ports=(80, 443, 9000))
    assert checked("http://192.168.1.10:9000/x", own, resolve).secure is False
    assert checked("https://loop.example/", own, resolve).addresses == ("127.0.0.1",)
    refused = ["https://169.254.169.254/", "https://[fd00:ec2::254]/", "https://0.0.0.0/", "https://224.0.0.1/",
               "http://good.example/", "https://loop.example:22/", "https://[::ffff:169.254.169.254]/"]  # fmt: skip
    for url in refused:
        with pytest.raises(VenueError):
            checked(url, own, resolve)
    listed = Policy(hosts=("good.example",))
    assert checked("https://Good.example./", listed, lambda *_: ["93.184.215.14"]).host == "good.example."
    with pytest.raises(VenueError, match="not on the list"):
        checked("https://93.184.215.14/", listed, resolve)


@pytest.mark.parametrize(
    "network",
    ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
     "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8", "::ffff:0:0/104"],
)  # fmt: skip
def test_both_ends_of_every_special_network_are_refused(network: str) -> None:
    """The networks of the special-purpose registries of IPv4 and IPv6, by their first and last address."""
    found = ipaddress.ip_network(network)
    for address in (found[0], found[-1]):
        with pytest.raises(VenueError):
            checked("https://x.example/", Policy(), lambda *_, a=address: [str(a)])


# a server -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """(certificate, key) of hook.example, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[Served]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with served(tls=context) as server:
        yield server


def test_the_checked_address_is_connected_to_under_the_name(secure: Served, certificate: tuple[Path, Path]) -> None:
    """A name is resolved once: what it would resolve to later (another address) plays no part."""
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.9.9.9"]

    trust = ssl.create_default_context(cafile=str(certificate[0]))
    target = checked(f"https://hook.example:{secure.port}/in", Policy(ports=(secure.port,), private=True), rebinding)
    answer = post(target, {"X-Own": "1"}, b"hello", tls=trust)
    assert answer.status == 200
    assert asked == ["hook.example"]
    (request,) = secure.requests
    assert (request.path, request.body, request.headers["host"]) == ("/in", b"hello", f"hook.example:{secure.port}")
    other = checked(f"https://other.example:{secure.port}/", Policy(ports=(secure.port,), private=True), rebinding)
    assert other.addresses == ("10.9.9.9",)


def test_a_certificate_of_another_name_is_refused(secure: Served, certificate: tuple[Path, Path]) -> None:
    trust = ssl.create_default_context(cafile=str(certificate[0]))
    policy = Policy(ports=(secure.port,), private=True)
    wrong = checked(f"https://wrong.example:{secure.port}/", policy, lambda *_: ["127.0.0.1"])
    with pytest.raises(ssl.SSLCertVerificationError):
        post(wrong, {}, b"", tls=trust)
    right = checked(f"https://hook.example:{secure.port}/", policy, lambda *_: ["127.0.0.1"])
    with pytest.raises(ssl.SSLCertVerificationError):
        post(right, {}, b"")  # nobody has vouched for it
    assert secure.requests == []


def test_an_answer_that_drips_ends_at_the_deadline() -> None:
    """One byte every now and then keeps every single read alive; the whole exchange still ends."""
    gate = threading.Event()
    with served(drip=gate) as server:
        target = checked(f"http://127.0.0.1:{server.port}/", Policy(ports=(server.port,), private=True))
        with pytest.raises(OSError, match="in time"):
            post(target, {}, b"", deadline=0.3)
        gate.set()


def test_nonsense_is_an_error_of_the_other_side() -> None:
    with served(raw=b"hello, this is no HTTP\r\n\r\n") as server:
        target = checked(f"http://127.0.0.1:{server.port}/", Policy(ports=(server.port,), private=True))
        with pytest.raises(OSError, match="nonsense"):
            post(target, {}, b"")
