"""Python imports this as it starts, where it is on the path. While MAQUETTE_TEST_DEEDS names a file, whatever would
start a program, connect beyond this machine, or execute a file of a folder that is not ours is refused, and written
down there: libraries that try may go on as if nothing had been."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

LOCAL = {None, "", "localhost", "::1", "::", "0.0.0.0", socket.gethostname()}  # of this machine
PROGRAMS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "webbrowser.open")


def near(host: Any) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    return host in LOCAL or str(host).startswith("127.") or str(host).startswith("::ffff:127.")


def forbidden(event: str, args: tuple[Any, ...]) -> bool:
    if event in PROGRAMS:
        return args[0] not in (sys.executable, "fc-list")  # by which Matplotlib finds the fonts, the first time
    if event in ("socket.connect", "socket.sendto"):
        return isinstance(args[1], tuple) and not near(args[1][0])  # a path is that of a socket on this machine
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        return not near(args[0])
    if event == "exec":
        return getattr(args[0], "co_filename", "").startswith(os.environ.get("MAQUETTE_TEST_FOREIGN", "\0"))
    return False


def hook(event: str, args: tuple[Any, ...]) -> None:
    if "MAQUETTE_TEST_DEEDS" in os.environ and forbidden(event, args):
        said = f"{event} {args!r}"
        handle = os.open(os.environ["MAQUETTE_TEST_DEEDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, said.encode() + b"\n")
        os.close(handle)
        raise PermissionError(f"not allowed: {said}")


sys.addaudithook(hook)
