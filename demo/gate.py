"""Guard of the page: it lets in requests for its own names alone, from its own pages alone; what goes wrong is a line in the log.

A page elsewhere can make a visitor's browser ask this computer for anything (cross-site requests), and by changing what its own name stands
for even read the answers (DNS rebinding). A browser tells both: the name that was asked for in ``Host``, whose page asks in ``Origin`` and
``Sec-Fetch-Site``.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

FUNCTIONS = re.compile(r"/(call|run|api|queue/join)(/|$)")  # where a function is named
NAMES_VARIABLE = "TONETRANSFER_HOSTS"  # more names that the page is served under, with commas between them


class Gate:
    """An ASGI application around another one.

    Parameters
    ----------
    app : ASGI application
    names : set of str
        Host names that are answered besides addresses in numbers; it may grow.
    """

    def __init__(self, app: Any, names: set[str]) -> None:
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if (problem := self.refused(scope["method"], headers)) is not None:
            await _answer(send, *problem)
            return
        begun = False

        async def watch(message: Any) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            unknown = isinstance(error, KeyError | LookupError) or type(error).__name__ == "FnIndexInferError"
            named = FUNCTIONS.search(scope["path"]) is not None and unknown
            print(f"{scope['method']} {scope['path'][:80]!r}: {type(error).__name__}: {str(error)[:120]!r}", file=sys.stderr, flush=True)
            if not begun:
                await _answer(send, *((404, "there is no such function here") if named else (500, "something went wrong here")))

    def refused(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and reason, if a request is not to be answered."""
        host = host_name(headers.get("host", ""))
        if not self.is_own(host):
            return 421, f"this page is not served under that name; name it in {NAMES_VARIABLE} if it is to be"
        if method in ("GET", "HEAD") and headers.get("sec-fetch-mode", "navigate") == "navigate":
            return None  # a link to the page
        stranger = "origin" in headers and not is_at(headers["origin"], headers.get("host", ""))
        if stranger or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "only the page itself may ask this"
        return None

    def is_own(self, host: str) -> bool:
        """Test whether a host name is one that this page is served under; addresses in numbers cannot be made to stand for another."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self.names
        return True


def own_names(host: str) -> set[str]:
    """Names that the page is served under: this computer's, if others may come, and what ``TONETRANSFER_HOSTS`` names."""
    names = {"localhost", host.lower(), *os.environ.get(NAMES_VARIABLE, "").lower().split(","), os.environ.get("SPACE_HOST", "").lower()}
    if host not in ("127.0.0.1", "localhost", "::1"):
        own = socket.gethostname().lower()
        names |= {own, own.partition(".")[0], f"{own.partition('.')[0]}.local", socket.getfqdn().lower()}
    return {name.strip() for name in names} - {""}


def host_name(netloc: str) -> str:
    """`localhost` of ``localhost:7860``, `::1` of ``[::1]:7860``."""
    name = netloc.strip().lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0].rstrip(".")


def is_at(origin: str, netloc: str) -> bool:
    """Test whether a page, named by its ``Origin``, is one of a server, named by its ``Host``."""
    try:
        page, port = urlsplit(origin), urlsplit(f"//{netloc}").port
        same_port = port is None or port == (page.port or {"http": 80, "https": 443}.get(page.scheme))
    except ValueError:  # no address
        return False
    return bool(page.hostname) and host_name(page.netloc.rpartition("@")[2]) == host_name(netloc) and same_port


async def _answer(send: Send, status: int, text: str) -> None:
    content = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
