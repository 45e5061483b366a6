"""HTTP as every client here speaks it: the environment's proxies, checked certificates, waits that end, plain words.

urllib3 is imported when something is asked for. ``pool`` knows who goes through which proxy; ``reason`` makes one line
out of urllib3's chains of errors. Nothing is retried here: what may be done twice, only the caller knows.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from urllib3 import PoolManager, Timeout

CONNECT_SECONDS: Final = 15.0
STILL_SECONDS: Final = 30.0
"""A server that says nothing for so long is given up."""


def pool(scheme: str, host: str, **options: Any) -> PoolManager:
    """Connections to a host, through the proxy that the environment names for it; ``options`` as urllib3's pools."""
    from urllib.request import getproxies, proxy_bypass

    from urllib3 import PoolManager, ProxyManager

    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or is_this_host(host) or proxy_bypass(host):
        return PoolManager(**options)
    return ProxyManager(proxy if "://" in proxy else f"http://{proxy}", **options)


def is_this_host(host: str) -> bool:
    """Whether a name or address without a port is of the loopback interface."""
    return host == "localhost" or host.startswith("127.") or host in {"::1", "[::1]"}


def reason(error: BaseException, timeout: Timeout) -> str:
    """What a person can do something with, of a chain of errors."""
    from urllib3 import exceptions

    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {inner.verify_message}"
        if isinstance(inner, exceptions.ReadTimeoutError):
            return f"the server stood still for {timeout.read_timeout:g} s"
        if type(inner) is exceptions.ConnectTimeoutError:  # a refused connection is one as well, by inheritance
            return f"no connection within {timeout.connect_timeout:g} s"
        if isinstance(inner, exceptions.NameResolutionError):
            return "the host's name is not known"
        if isinstance(inner, OSError) and inner.strerror and inner.__cause__ is None:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return str(error).partition(": ")[2] or str(error)
