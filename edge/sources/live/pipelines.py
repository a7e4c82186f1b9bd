"""What GStreamer is told to open. The elements and their options are those of NVIDIA's Accelerated GStreamer guide and of GStreamer 1.20."""

from __future__ import annotations

from collections.abc import Collection

_SINK = "videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
_NVIDIA_TAIL = f"nvvidconv ! video/x-raw,format=BGRx ! {_SINK}"
_NVIDIA = "nvv4l2decoder"
_BUFFER_BYTES = 4 << 20
RTSP_LATENCY_MS = 100


def gstreamer_rtp(port: int, codec: str, payload_type: int, elements: Collection[str]) -> str:
    """A pipeline for an RTP stream on a port of 127.0.0.1, `elements` being what GStreamer has here."""
    caps = f"application/x-rtp,media=video,clock-rate=90000,encoding-name={codec.upper()},payload={payload_type}"
    return f'udpsrc address=127.0.0.1 port={port} buffer-size={_BUFFER_BYTES} caps="{caps}" ! rtpjitterbuffer latency=0 ! {_decoded(codec, elements)}'


def gstreamer_rtsp(url: str, codec: str, elements: Collection[str]) -> str:
    """A pipeline for an RTSP camera."""
    return f'rtspsrc location="{url}" protocols=tcp latency={RTSP_LATENCY_MS} drop-on-latency=true ! {_decoded(codec, elements)}'


def gstreamer_csi(sensor: int, size_wh: tuple[int, int], fps: int) -> str:
    """A pipeline for a camera on a Jetson's CSI port."""
    size = f"width={size_wh[0]},height={size_wh[1]},framerate={fps}/1,format=NV12"
    return f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),{size} ! {_NVIDIA_TAIL}"


def decoder(codec: str, elements: Collection[str]) -> str:
    """Name the decoder that a pipeline has: the Jetson's hardware where it is there."""
    return _NVIDIA if _NVIDIA in elements else f"avdec_{codec}"


def _decoded(codec: str, elements: Collection[str]) -> str:
    # The parser puts the parameter sets before every intra frame: a decoder that joins late has them.
    head = f"rtp{codec}depay ! {codec}parse config-interval=-1"
    if decoder(codec, elements) == _NVIDIA:
        return f"{head} ! {_NVIDIA} enable-max-performance=1 disable-dpb=true ! {_NVIDIA_TAIL}"
    return f"{head} ! avdec_{codec} ! {_SINK}"
