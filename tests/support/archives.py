"""A server of archives that behaves as servers do, and small archives of GTSRB's official form."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from train.fetch import GTSRB, Archive

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2"
TRAIN_FILES = {(class_id, f"{track:05}_{frame:05}.ppm") for class_id in (2, 10) for track in range(2) for frame in range(3)}
TEST_FILES = {"00000.ppm": 14, "00001.ppm": 2}


class Server(ThreadingHTTPServer):
    """Serves `files` and notes what was asked: (file name, first byte). `errors` are answered and `cuts` (bytes before a drop) happen first, one a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, int]] = []
        self.errors: list[int] = []
        self.cuts: list[int] = []
        self.knows_range = True
        self.chunked = False
        self.drops = threading.Event()  # cleared, the connection stands still where it would be cut
        self.drops.set()

    def archive(self, content: bytes, inside: str = "GTSRB/Training", place: str = "Final_Training/Images", name: str = "train.zip") -> Archive:
        self.files[name] = content
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return Archive(f"http://127.0.0.1:{self.server_port}/published/{name}", md5, inside, place, room_mib=1)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.server.asked.append((name, start))
        if self.server.errors or name not in self.server.files:
            self.send_error(self.server.errors.pop() if self.server.errors else 404)
            return
        whole = self.server.files[name]
        start = start if self.server.knows_range else 0
        if start and start >= len(whole):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header(*(("Transfer-Encoding", "chunked") if self.server.chunked else ("Content-Length", str(len(whole) - start))))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.end_headers()
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(whole) - start, whole[start:]) if self.server.chunked else whole[start:]
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)
        self.server.drops.wait()

    def log_message(self, *_: object) -> None:
        pass


def zipped(files: dict[str, bytes | str]) -> bytes:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in files.items():
            content.writestr(name, data)
    return blob.getvalue()


def ppm(seed: int) -> bytes:
    return cv2.imencode(".ppm", np.random.default_rng(seed).integers(0, 256, (30, 32, 3), np.uint8))[1].tobytes()


def train_zip() -> bytes:
    files: dict[str, bytes | str] = {f"GTSRB/Training/{class_id:05}/{name}": ppm(seed) for seed, (class_id, name) in enumerate(sorted(TRAIN_FILES))}
    for folder in (2, 10):
        rows = [f"{name};32;30;5;5;27;25;{class_id}" for class_id, name in sorted(TRAIN_FILES) if class_id == folder]
        files[f"GTSRB/Training/{folder:05}/GT-{folder:05}.csv"] = "\n".join([f"{HEADER};ClassId", *rows, ""])
    return zipped({"GTSRB/Readme-Images.txt": "read me", **files})


def gtsrb(server: Server) -> tuple[Archive, ...]:
    """Three small archives of the official form."""
    photos = {f"GTSRB/Final_Test/Images/{name}": ppm(100 + class_id) for name, class_id in TEST_FILES.items()}
    blind = "\n".join([HEADER, *(f"{name};32;30;5;5;27;25" for name in TEST_FILES), ""])
    truth = "\n".join([f"{HEADER};ClassId", *(f"{name};32;30;5;5;27;25;{class_id}" for name, class_id in TEST_FILES.items()), ""])
    blobs = (train_zip(), zipped({**photos, "GTSRB/Final_Test/Images/GT-final_test.test.csv": blind}), zipped({"GT-final_test.csv": truth}))
    return tuple(server.archive(blob, like.inside, like.place, like.name) for blob, like in zip(blobs, GTSRB, strict=True))
