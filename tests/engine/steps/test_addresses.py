"""Which addresses a step may reach."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.engine.steps.addresses import denial, literal_address

EMBEDDINGS = {
    "mapped": lambda v4: (0xFFFF << 32) | v4,
    "compatible": lambda v4: v4,
    "translated": lambda v4: (0xFFFF << 48) | v4,
    "NAT64": lambda v4: (0x64FF9B << 96) | v4,
    "NAT64 of one's own": lambda v4: (0x64FF9B0001 << 80) | v4,
    "6to4": lambda v4: (0x2002 << 112) | (v4 << 80),
    "Teredo": lambda v4: (0x20010000 << 96) | (v4 ^ 0xFFFFFFFF),
}


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",  # noqa: S104  # not bound to
        "0.255.255.255",
        "10.0.0.0",
        "10.255.255.255",
        "100.64.0.0",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::169.254.169.254",
        "::ffff:8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:1ff:ffff::1",
        "2001:db8::1",
        "2002:0808:0808::1",
        "3fff:fff::1",
        "4000::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_that_lead_inside_are_denied(text):
    """Loopback, private, link-local, multicast, reserved, embedding and clouds' own addresses are denied."""
    assert denial(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "168.63.129.17",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700::1111",
        "3ffe:ffff::1",
    ],
)
def test_public_addresses_are_not(text):
    """What lies beside the denied ranges is reachable."""
    assert denial(ipaddress.ip_address(text)) is None


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(EMBEDDINGS)))
def test_an_ipv4_address_in_ipv6_clothes_is_denied(v4, embedding):
    """No form of IPv6 that carries an IPv4 address is reachable, whatever the address."""
    assert denial(ipaddress.IPv6Address(EMBEDDINGS[embedding](v4)))


@given(st.ip_addresses())
def test_what_is_not_denied_is_global(address):
    """The table is at least as strict as the standard library's."""
    assert denial(address) or address.is_global


@pytest.mark.parametrize("host", ["127.0.0.1", "8.8.8.8", "::1", "fe80::1", "::ffff:7f00:1", "2001:4860:4860::8888"])
def test_a_literal_address_is_read(host):
    """An address in its usual form is itself."""
    assert literal_address(host) == ipaddress.ip_address(host)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0X7F.0.0.0X1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "017700000001",
        "127.0.0.1.",
        "127.0.0.1..",
        "0x7f.1.",
        "1.2.3.4.5",
        "256.1.1.1",
        "example.1",
        "example.0x",
        "fe80::1%25eth0",
        "fe80::1%eth0",
        "1:2",
        "::ffff:1.2.3",
    ],
)
def test_an_address_in_another_form_is_refused(host):
    """Whatever the C library may take for an address must be written in the usual form."""
    with pytest.raises(ValueError, match=r"."):
        literal_address(host)


@pytest.mark.parametrize("host", ["localhost", "example.com", "1.example", "0x7f.example", "127.0.0.1.nip.io", "a.b2"])
def test_a_name_is_no_address(host):
    """Names are for the resolver."""
    assert literal_address(host) is None
