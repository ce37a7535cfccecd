"""Network addresses that a step may connect to: public ones only.

The table is our own, since `ipaddress.is_global` is true for addresses that lead inside: NAT64, 6to4,
`::169.254.169.254`. It is asked about addresses, never about names: whoever connects must resolve first, ask,
and then connect to the very address that was asked about. A second look-up could give another answer (DNS
rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# IANA's special-purpose registries (RFC 6890 and its updates), and what clouds keep at public addresses.
_DENIED: Final = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier's customers",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's own service",
    "169.254.0.0/16": "link-local, where clouds keep credentials",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "set aside for protocols",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved or broadcast",
    "::/128": "this host",
    "::1/128": "loopback",
    "::ffff:0:0/96": "an IPv4 address in another form",
    "64:ff9b::/96": "an IPv4 address behind NAT64",
    "64:ff9b:1::/48": "an IPv4 address behind NAT64",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "ff00::/8": "multicast",
    "2001::/23": "set aside for protocols such as Teredo",
    "2001:db8::/32": "documentation",
    "2002::/16": "an IPv4 address behind 6to4",
    "3fff::/20": "documentation",
    # Public addresses are in 2000::/3 alone. The rows above only say more about some of these.
    "::/3": "not public",
    "4000::/2": "not public",
    "8000::/1": "not public",
}
_NETWORKS: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ipaddress.ip_network(text), kind) for text, kind in _DENIED.items()
)
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")


def denial(address: IpAddress) -> str | None:
    """The reason why a step may not connect to this address, in words that follow "is"; None if it may."""
    for network, kind in _NETWORKS:
        if address.version == network.version and address in network:
            return kind
    return None


def literal_address(host: str) -> IpAddress | None:
    """The address that a URL's host is; None if it is a name.

    A host whose last part is a number is an address to the C library (`0x7f.1`, `2130706433`, `017700000001`,
    `127.1`), so it must be written as one: four decimal numbers (WHATWG URL, "ends in a number").

    Raises ValueError: it is an address in another form, or in none; an IPv6 address with a zone too.
    """
    if ":" in host:
        address = ipaddress.IPv6Address(host)
        if address.scope_id is not None:
            raise ValueError("an address with a zone is link-local")
        return address
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is None:
        return None
    return ipaddress.IPv4Address(host)
