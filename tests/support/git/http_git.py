"""A web server that serves repositories through git's own `http-backend`, in a mood of its own."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Mood = Callable[["GitHandler"], None]


class GitServer(ThreadingHTTPServer):
    """Serves every repository below a folder at its path.

    Each request takes the first of `moods` and is answered by it alone; when none is left, git
    answers. `asked` has the path of every request, with its query.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *moods: Mood) -> None:
        super().__init__(("127.0.0.1", 0), GitHandler)
        self.folder = folder
        self.moods = list(moods)
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class GitHandler(BaseHTTPRequestHandler):
    """One request: CGI (RFC 3875) with `git http-backend`."""

    server: GitServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.server.moods:
            self.server.moods.pop(0)(self)
        else:
            self._git(b"")

    def do_POST(self) -> None:
        self._git(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def refuse(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        """Answers with a status and headers."""
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _git(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        status = int(headers.pop("Status", "200").split()[0])
        headers.pop("Content-Length", None)
        self.refuse(status, headers, content)

    def log_message(self, *args: object) -> None:
        pass


def says(status: int, body: bytes = b"", **headers: str) -> Mood:
    """A mood that refuses; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.refuse(status, named, body)


def hangs_up(handler: GitHandler) -> None:
    """A mood that ends the connection without a word."""
    handler.close_connection = True
    handler.connection.shutdown(2)
