"""A local web server for tests of downloads."""

import contextlib
import http.server
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator

MIB = 1 << 20


class Server(http.server.ThreadingHTTPServer):
    """Serves files, well or badly, and counts.

    Attributes:
      content: bytes served under any name; others: name -> bytes served under it.
      ranges: whether Range is obeyed; "shifted" obeys it from the wrong byte.
      framing: how the end of an answer is told: "length", "chunked" or "close".
      statuses: what the next requests are answered instead of the file; 0 is nothing.
      cuts: after how many bytes the next answers end; `ending` is how: "close", "reset" or "hang".
      pace: None, or how many bytes are sent at a time and the seconds between.
      asked: the Range header of each request.
      served: how many bytes of the file were sent.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.others: dict[str, bytes] = {}
        self.ranges: bool | str = True
        self.framing = "length"
        self.statuses: list[int] = []
        self.cuts: list[int] = []
        self.ending = "close"
        self.pace: tuple[int, float] | None = None
        self.asked: list[str | None] = []
        self.served = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/DIV2K.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client is gone
            super().handle()

    def do_GET(self) -> None:
        server, asked = self.server, self.headers["Range"]
        assert self.headers["Accept-Encoding"] == "identity"
        server.asked.append(asked)
        if server.statuses:
            if status := server.statuses.pop(0):
                self.answer(status, {"Content-Length": "0"})
            else:
                self.close_connection = server.released.wait()
            return
        content = server.others.get(self.path.rsplit("/", 1)[-1], server.content)
        size, start = len(content), 0
        if asked and server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) - (server.ranges == "shifted")
        if start >= size:
            self.answer(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            return
        headers = {
            "length": {"Content-Length": str(size - start)},
            "chunked": {"Transfer-Encoding": "chunked"},
            "close": {"Connection": "close"},
        }[server.framing]
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self.answer(206 if start else 200, headers)
        end = start + server.cuts.pop(0) if server.cuts else size
        self.send(content[start:end])
        if end < size:
            self.end()

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, data: bytes) -> None:
        step, pause = self.server.pace or (MIB, 0)
        for begin in range(0, len(data), step):
            piece = data[begin : begin + step]
            self.server.served += len(piece)  # before the client can be done
            if self.server.framing == "chunked":
                piece = b"%x\r\n%b\r\n" % (len(piece), piece)
            self.wfile.write(piece)
            time.sleep(pause)
        if self.server.framing == "chunked":
            self.wfile.write(b"0\r\n\r\n")

    def end(self) -> None:
        self.close_connection = True
        if self.server.ending == "hang":
            self.server.released.wait()
        elif self.server.ending == "reset":  # lingering for 0 seconds sends RST, not FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(content: bytes = b"") -> Iterator[Server]:
    """A server that answers in threads of this process."""
    with Server(content) as running:  # leaving it waits for the threads of the answers
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()
