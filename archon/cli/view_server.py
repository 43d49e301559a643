"""A local server for the index page of a folder of runs, which reads the folder again on demand.

It listens on this machine only and changes nothing. Pages of runs, comparisons and studies are
made when they are requested. Only folders that the index lists can be requested.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from archon.errors import ArchonError, UsageError, os_reason
from archon.evals.collection.index_page import IndexData, html, index_data
from archon.evals.collection.run_list import RunList
from archon.evals.run import read_run
from archon.evals.view.page import html as run_html
from archon.evals.view.page_data import gather
from archon.evals.view.source import StoredRun

HOST = "127.0.0.1"
Query = Mapping[str, list[str]]
Reply = tuple[HTTPStatus, str, str]
"""(status, content type, body)."""
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


@dataclass
class IndexServer:
    """The pages of a folder of runs.

    Parameters
    ----------
    study_html
        Folder of a study → its page.
    """

    runs: RunList
    study_html: Callable[[Path], str]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, path: str, query: Query) -> Reply:
        """Return the reply to a request; errors become a page with status 4xx or 5xx."""
        try:
            match path:
                case "/":
                    return self._page(html(self._read(), datetime.now(UTC), live=True))
                case "/data.json":
                    return self._data(query.get("known", [""])[0])
                case "/run":
                    return self._page(self._runs(query.get("path", [])[:1]))
                case "/compare":
                    return self._page(self._runs(query.get("run", [])))
                case "/study":
                    [study] = self._listed("studies", query.get("path", [])[:1])
                    return self._page(self.study_html(study))
        except (KeyError, ValueError):
            pass
        except ArchonError as error:
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        return _error(HTTPStatus.NOT_FOUND, "There is no such page. The list of runs is at /.")

    def _page(self, text: str) -> Reply:
        return HTTPStatus.OK, _HTML, text

    def _read(self) -> IndexData:
        with self._lock:
            return index_data(self.runs, _link)

    def _data(self, known: str) -> Reply:
        """Return the rows, or only the time if the page knows them already."""
        data, now = self._read(), datetime.now(UTC)
        found = data.to_json(now, live=True)
        if known == data.key:
            found = {"key": data.key, "made": found["made"]}
        return HTTPStatus.OK, _JSON, json.dumps(found, allow_nan=False)

    def _runs(self, paths: list[str]) -> str:
        if not paths:
            raise KeyError("run")
        runs = [StoredRun(read_run(path)) for path in self._listed("runs", paths)]
        return run_html(gather(runs))

    def _listed(self, kind: str, paths: list[str]) -> list[Path]:
        """Return paths that the index lists; raise ``KeyError`` for any other path."""
        listed = {row["path"]: Path(row["path"]) for row in self._read().plain[kind]}
        return [listed[path] for path in paths]


def _link(kind: str, path: str) -> str | None:
    return {"run": f"run?path={quote(path)}", "study": f"study?path={quote(path)}"}.get(kind)


def _error(status: HTTPStatus, text: str) -> Reply:
    page = f"<!doctype html><meta charset=utf-8><title>{status.phrase}</title><p>{escape(text)}</p>"
    return status, _HTML, page


def start_server(server: IndexServer, port: int) -> ThreadingHTTPServer:
    """Return an HTTP server for the pages, which is bound to a port and not yet running.

    Parameters
    ----------
    port
        The port on this machine; 0 chooses a free one.

    Raises
    ------
    UsageError
        The port cannot be used.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            if _is_local(self.headers.get("Host", "")):
                reply = server.reply(address.path, parse_qs(address.query))
            else:  # another site resolved its name to this machine
                reply = _error(HTTPStatus.FORBIDDEN, "Open this page by its local address.")
            self._send(*reply)

        def _send(self, status: HTTPStatus, content_type: str, text: str) -> None:
            body = text.encode("utf-8", "surrogatepass" if content_type == _JSON else "replace")
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    try:
        http = ThreadingHTTPServer((HOST, port), Handler)
    except (OSError, OverflowError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot listen on port {port}: {reason}") from None
    http.daemon_threads = True
    return http


def _is_local(host: str) -> bool:
    return host.rpartition(":")[0] in (HOST, "localhost")
