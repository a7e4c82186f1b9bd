"""An RTSP camera for tests: one client at a time, RTP inside the connection (RFC 2326, sections 10 and 10.12), frames of a real encoder."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress

from edge.sources.live.rtp.sockets import free_ports


class RtspCamera:
    """Answers as cameras do and passes on the RTP packets that come to `rtp_port` while it is open; leaving it is a camera that loses its power."""

    def __init__(self, codec: str, port: int | None = None) -> None:
        self.port, self.rtp_port = port or free_ports(), free_ports()
        self._codec = codec
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RtspCamera:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._server.settimeout(0.1)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._server.accept()
            except TimeoutError:
                continue
            with client, suppress(OSError):
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(0.1)
        asked = b""
        while not self._stopping.is_set():
            try:
                data = client.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return
            asked += data
            while b"\r\n\r\n" in asked:
                request, asked = asked.split(b"\r\n\r\n", 1)
                if self._answer(client, request.decode()):
                    self._play(client)
                    return

    def _answer(self, client: socket.socket, request: str) -> bool:
        method, url, _ = request.split("\r\n")[0].split(" ")
        sequence = re.search(r"CSeq: *(\d+)", request, re.IGNORECASE)
        head = f"RTSP/1.0 200 OK\r\nCSeq: {sequence.group(1) if sequence else 0}\r\n"
        body, more = "", ""
        if method == "OPTIONS":
            more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif method == "DESCRIBE":
            origin = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0")
            lines = (*origin, "m=video 0 RTP/AVP 96", f"a=rtpmap:96 {self._codec.upper()}/90000", "a=control:track0")
            body = "".join(f"{line}\r\n" for line in lines)
            more = f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif method == "SETUP":
            more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        elif method == "PLAY":
            more = "Session: 1\r\n"
        client.sendall(f"{head}{more}\r\n{body}".encode())
        return method == "PLAY"

    def _play(self, client: socket.socket) -> None:
        client.settimeout(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
            packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            packets.bind(("127.0.0.1", self.rtp_port))
            packets.settimeout(0.1)
            while not self._stopping.is_set():
                with suppress(TimeoutError):
                    packet = packets.recv(65536)
                    client.sendall(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
