"""Whose request it is, by the address of the peer and what trusted proxies say of it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

from controlplane.base.env import Network


def client_address(peer: str, forwarded: str, trusted: Sequence[Network]) -> str:
    """The peer's or, behind trusted proxies, that of the nearest hop in X-Forwarded-For which is none of them."""
    address = peer
    for hop in reversed(forwarded.split(",")):
        if not _within(address, trusted) or not hop.strip():
            break
        address = hop.strip()
    return address


def is_loopback(host: str) -> bool:
    """Whether only this machine can mean that host."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return any((mapped or ip) in network for network in networks)
