"""A real S3 server on a free loopback port, and a proxy before it that fails as object stores do.

with S3Server() as s3, FaultyProxy(s3.url, error_share=0.05, seed=0) as proxy:
    s3.create_bucket("runs")
    subprocess.run([...], env={**os.environ, **s3.environment()})  # with storage.endpoint_url = proxy.url
    assert proxy.injected["503", "UploadPart"]
"""

import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs

HOST = "127.0.0.1"
START_LIMIT_S = 90.0
PIECE_BYTES = 1 << 20
# What a process needs to use a server, besides its address.
STORE_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",  # else what has no credentials asks 169.254.169.254 for long
}
ERRORS = ((500, "InternalError"), (503, "SlowDown"))
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade"}


class S3Server:
    """moto's server in a process of its own; it forgets everything when it ends."""

    def __enter__(self) -> "S3Server":
        port = _free_port()
        self.url = f"http://{HOST}:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + START_LIMIT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.__exit__()
                raise RuntimeError(f"moto's server does not answer at {self.url}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def environment(self) -> dict[str, str]:
        return STORE_ENVIRONMENT

    def filesystem(self) -> fs.S3FileSystem:
        """Straight to the server, past any proxy."""
        return fs.S3FileSystem(
            endpoint_override=self.url,
            access_key="test",
            secret_key="test",
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def create_bucket(self, name: str) -> None:
        self.filesystem().create_dir(name)

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5):
            return True
        return False


class FaultyProxy:
    """Forwards requests to an S3 server; a share of them fails, and is counted, without reaching it.

    Args:
        upstream: the URL of the server.
        error_share: of requests that are answered with 500 or 503.
        drop_share: of requests whose connection is closed: a GET in the middle of its answer, others before any.
        delay_s: before each request.
        seed: of the draws; they are made in the order in which requests arrive.

    Attributes:
        injected: faults by (kind, operation), such as ("503", "UploadPart"); kinds: 500, 503, drop, outage, 403.
        requests: all requests by operation.
        error_share, drop_share, delay_s: may be changed at any time.
    """

    def __init__(
        self, upstream: str, *, error_share: float = 0.0, drop_share: float = 0.0, delay_s: float = 0.0, seed: int = 0
    ) -> None:
        self.error_share, self.drop_share, self.delay_s = error_share, drop_share, delay_s
        self.injected: Counter[tuple[str, str]] = Counter()
        self.requests: Counter[str] = Counter()
        self.upstream = urlsplit(upstream).netloc
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._down_until_s = 0.0
        self._refusal: tuple[str, str] | None = None

    def __enter__(self) -> "FaultyProxy":
        self._server = _Server(self)
        self.url = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def num_injected(self) -> int:
        return self.injected.total()

    def outage(self, seconds: float) -> None:
        """Closes every connection without an answer, from now on for so long; 0 ends an outage."""
        self._down_until_s = time.monotonic() + seconds

    def refuse(self, code: str, path: str = "/") -> None:
        """Answers 403 with this code, such as AccessDenied, to every request whose path begins with `path`."""
        self._refusal = (code, path)

    def draw(self, operation: str, path: str) -> tuple[str, str] | None:
        """The fault of a request, as its kind and S3's code, or None."""
        with self._lock:
            fault = self._draw(path)
            self.requests[operation] += 1
            if fault is not None:
                self.injected[fault[0], operation] += 1
            return fault

    def _draw(self, path: str) -> tuple[str, str] | None:
        if time.monotonic() < self._down_until_s:
            return "outage", ""
        if self._refusal is not None and path.startswith(self._refusal[1]):
            return "403", self._refusal[0]
        share = self._random.random()
        if share < self.error_share:
            status, code = self._random.choice(ERRORS)
            return str(status), code
        return ("drop", "") if share < self.error_share + self.drop_share else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        super().__init__((HOST, 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that were killed are what the tests are about; their broken pipes need no traceback."""


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, and one to the server for it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet
    server: _Server

    def _answer(self) -> None:
        proxy = self.server.proxy
        body = self._body()
        fault = proxy.draw(operation_of(self.command, self.path), urlsplit(self.path).path)
        time.sleep(proxy.delay_s)
        if fault is None:
            self._forward(body)
        elif fault[0] == "drop" and self.command == "GET":
            self._forward(body, cut=True)
        elif fault[0] in {"drop", "outage"}:
            self.close_connection = True
        else:
            self._send_error(*fault)
        self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Clients wait a second for this line before they send what they write."""
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def _forward(self, body: bytes, *, cut: bool = False) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP | {"content-length"}}
        if body or self.command in {"PUT", "POST"}:
            headers["Content-Length"] = str(len(body))
        upstream = HTTPConnection(self.server.proxy.upstream, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(body)
            self._send_back(upstream, cut)
        except (OSError, HTTPException):  # the server or the client has gone away
            self.close_connection = True
        finally:
            upstream.close()

    def _send_back(self, upstream: HTTPConnection, cut: bool) -> None:
        answer = upstream.getresponse()
        length = answer.getheader("Content-Length")
        whole = b"" if length is not None or self.command == "HEAD" else answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", length if length is not None else str(len(whole)))
        self.end_headers()
        if cut:
            self.wfile.write(answer.read(int(length or 0) // 2))
            self.close_connection = True
            return
        self.wfile.write(whole)
        while piece := answer.read(PIECE_BYTES):
            self.wfile.write(piece)

    def _send_error(self, status: str, code: str) -> None:
        # As long as Amazon's: the client of pyarrow stumbles over one that is longer than what it wanted to read.
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>Made up.</Message>'
            f"<RequestId>{'0' * 16}</RequestId><HostId>{'0' * 76}</HostId></Error>"
        )
        self.send_response_only(int(status), code)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: the counters say what happened."""


def operation_of(method: str, url: str) -> str:
    """S3's name of a request."""
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    has_key = len(parts.path.strip("/").split("/", 1)) == 2
    if method == "POST":
        if "delete" in query:
            return "DeleteObjects"
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if method == "PUT":
        if "partNumber" in query:
            return "UploadPart"
        return "PutObject" if has_key else "CreateBucket"
    if method == "DELETE":
        return "AbortMultipartUpload" if "uploadId" in query else "DeleteObject"
    if method == "HEAD":
        return "HeadObject" if has_key else "HeadBucket"
    return "GetObject" if has_key else "ListObjects"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
