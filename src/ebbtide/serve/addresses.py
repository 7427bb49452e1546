"""Which addresses may be called: a webhook must not become a way into the network that the service stands in."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
_METADATA = {ip_address("169.254.169.254"), ip_address("fd00:ec2::254"), ip_address("100.100.100.200")}
"""Where clouds give credentials to whoever asks from inside."""
_CARRIERS = tuple(map(IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
"""The last 32 bits are an IPv4 address: NAT64 (RFC 6052), IPv4-compatible (RFC 4291), translated (RFC 2765)."""
_NEVER = tuple(map(IPv6Network, ("64:ff9b:1::/48", "fec0::/10")))
"""NAT64 of a network's own (RFC 8215), which leads to whatever that network says; the old site-local addresses."""
_LOCAL = ip_address("::1")


async def resolve(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the order in which the system would try them; none if it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(ip_address(str(where[0]).partition("%")[0]) for *_, where in found))


def may_call(address: Address, *, allow_private: bool = False) -> bool:
    """Whether an address may be called: public ones; with `allow_private` those of this machine and of private networks.

    Link-local, metadata, multicast and unspecified addresses never. An IPv6 address that carries an IPv4 address is
    judged by it, too.

    >>> [may_call(ip_address(a)) for a in ("93.184.216.34", "10.0.0.1", "::ffff:127.0.0.1", "100.64.0.1")]
    [True, False, False, False]
    >>> may_call(ip_address("10.0.0.1"), allow_private=True), may_call(ip_address("169.254.169.254"), allow_private=True)
    (True, False)
    """
    inner = _carried(address)
    if inner is not None and not may_call(inner, allow_private=allow_private):
        return False
    if any(address in network for network in _NEVER):
        return False
    if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if inner is not None:
        return True
    return address.is_global or (allow_private and (address.is_private or address.is_loopback))


def _carried(address: Address) -> IPv4Address | None:
    """The IPv4 address inside: mapped, 6to4, Teredo's client, or in the last bits of a carrier."""
    if isinstance(address, IPv4Address) or address == _LOCAL:
        return None
    if any(address in network for network in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)
