"""Whose request it is, by the address of the peer and what trusted proxies say of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from controlplane.base.refusal import NotAllowed

Network = IPv4Network | IPv6Network
PROXIED = frozenset({"forwarded", "via", "x-real-ip"})


class OnlyHere(NotAllowed):
    code = "demonstration"
    title = "This is a demonstration"

    def __init__(self) -> None:
        super().__init__(
            "It shows one-time codes to whoever asks, so it answers its own machine only, and nobody through a proxy. "
            "Set ROLLCALL_DEMONSTRATION=0 to serve others."
        )


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


def is_direct(peer: str, headers: Iterable[str]) -> bool:
    """Whether a program of this machine asks, not a proxy on behalf of somebody; `headers` are the request's names."""
    names = {name.lower() for name in headers}
    return is_loopback(peer) and not names & PROXIED and not any(name.startswith("x-forwarded-") for name in names)


def without_port(host: str) -> str:
    """The name in a Host header."""
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return any((mapped or ip) in network for network in networks)
