"""What `edge run` offers to be watched with: the page, MAVLink, MQTT, and the telemetry behind them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import cli
from edge.errors import InputError
from edge.outside.text import without_credentials
from edge.process import threads

if TYPE_CHECKING:
    from edge.board.telemetry import Monitor
    from edge.frame import Source
    from edge.mapping.surveyor import Surveyor
    from edge.outputs.meter import Meter
    from edge.outputs.web.access import Access
    from edge.outputs.web.sink import WebSink
    from edge.result import Sink
    from edge.vehicle.levelling import Leveller
    from edge.vehicle.utc import UtcClock

LOOPBACK = "127.0.0.1"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of these outputs."""
    add_page(parser, default=None, help="serve a page with the live picture, sightings and figures; 0 takes a free port")
    parser.add_argument(
        "--memory-limit",
        type=cli.count,
        metavar="MIB",
        help="warn from 85%% of so much resident memory on, then give up the page's pictures but one a second, then the video of a live source",
    )
    parser.add_argument(
        "--mavlink",
        metavar="ADDRESS",
        help="tell an autopilot what is seen: udpout:127.0.0.1:14550, or udpin:, udpbcast:, tcp:HOST:PORT, or /dev/ttyTHS1,57600",
    )
    parser.add_argument("--mavlink-system", type=system_id, metavar="N", help="the vehicle's system id (without it: learned from its heartbeat, 1 until then)")
    parser.add_argument(
        "--restream",
        metavar="ADDRESS",
        help="send the annotated picture on as H.264: rtp://HOST:PORT?fps=15&width=960&bitrate=2000, udp://HOST:PORT (MPEG-TS), srt://HOST:PORT",
    )
    parser.add_argument(
        "--mqtt", metavar="URI", help="tell an MQTT broker events, state and figures: mqtt(s)://[USER:PASSWORD@]HOST[:PORT]/PREFIX, or @FILE with it"
    )


def add_page(parser: argparse.ArgumentParser, *, default: int | None, help: str) -> None:  # noqa: A002 - as argparse calls it
    """Add the options of a page: its port, which is `default` unless told, the address it is served on, and who may read it."""
    parser.add_argument("--web", type=port, default=default, metavar="PORT", help=help)
    parser.add_argument("--web-host", default=LOOPBACK, metavar="H", help="address to serve it on; other than loopback wants --web-token-file")
    parser.add_argument("--web-token-file", type=Path, metavar="F", help="file with the token that the page asks for, as password of any user")


def conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what of these outputs belongs to the conditions of a run's figures."""
    return {
        "web": arguments.web is not None,
        "mavlink": arguments.mavlink is not None,
        "mqtt": arguments.mqtt is not None,
        "restream": arguments.restream is not None,
        "memory_limit": arguments.memory_limit,
    }


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options of these outputs that no run could heed."""
    if arguments.web is None and (arguments.web_token_file is not None or arguments.web_host != LOOPBACK):
        raise InputError("wanted --web PORT with --web-host and --web-token-file, found none: add it, or leave them out")
    if arguments.mavlink is None and arguments.mavlink_system is not None:
        raise InputError("wanted --mavlink ADDRESS with --mavlink-system, found none: add it, or leave that out")


def port(text: str) -> int:
    """Read an option that is a TCP port.

    Raises:
        ArgumentTypeError: none.
    """
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"wanted a port from 0 to 65535, found {text!r}")
    return int(text)


def system_id(text: str) -> int:
    """Read an option that is a vehicle's system id of MAVLink.

    Raises:
        ArgumentTypeError: none.
    """
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 255:
        raise argparse.ArgumentTypeError(f"wanted a system id from 1 to 255, found {text!r}")
    return int(text)


def watching_sinks(
    arguments: argparse.Namespace,
    source: Source,
    facts: Mapping[str, str],
    labels: Sequence[str],
    written: Sequence[Sink],
    leveller: Leveller | None,
    surveyor: Surveyor | None,
    utc: UtcClock,
) -> tuple[list[Sink], Monitor | None]:
    """Return the sinks that the options ask for, and the telemetry behind them, which is to be opened before.

    Args:
        arguments: of the command line.
        source: what the frames come from.
        facts: of the engine, for the page.
        labels: names of the classes.
        written: the run's other sinks; what of them can be given up is, where memory runs out.
        leveller: is told what the vehicle tells of its attitude, where it asks for that; the page shows its warning.
        surveyor: is told the same, and where the vehicle is.
        utc: is told the vehicle's time.

    Raises:
        BundleError: the bundle's faces, for the page, are damaged.
        InputError: options that do not go together, or a token file that holds none.
        MissingDependency: a package of an extra is absent.
    """
    _check_options(arguments)
    if arguments.web is None and arguments.mavlink is None and arguments.mqtt is None and arguments.memory_limit is None:
        return [], None
    from edge.board.telemetry import Monitor
    from edge.outputs.meter import Meter, MeterSink

    meter, monitor = Meter(), Monitor()
    sinks: list[Sink] = [MeterSink(meter)]
    told = {"source": without_credentials(arguments.source), **facts}
    page = None if arguments.web is None else _page(arguments, source, told, labels, meter, monitor)
    sinks += [] if page is None else [page]
    if page is not None:
        page.state.warnings.append(lambda: "; ".join(threads.faults()))
    if page is not None and leveller is not None:
        page.state.warnings.append(lambda: leveller.warning)
    if arguments.mavlink is not None:
        sinks.append(_mavlink(arguments, labels, meter, monitor, leveller, surveyor, utc))
    if arguments.mqtt is not None:
        from edge.outputs.mqtt.address import parse_broker
        from edge.outputs.mqtt.sink import MqttSink

        sinks.append(MqttSink(parse_broker(arguments.mqtt), labels, meter, lambda: monitor.newest, utc))
    if arguments.memory_limit is not None:
        _guard_memory(arguments.memory_limit, page, written, monitor)
    return sinks, monitor


def restreamed(arguments: argparse.Namespace, labels: Sequence[str]) -> list[Sink]:
    """Return the sink that sends the picture on, where it is asked for.

    Raises:
        InputError: an address that cannot be understood.
        MissingDependency: what encodes or sends is absent.
    """
    if arguments.restream is None:
        return []
    from edge.outputs.restream.address import parse_target
    from edge.outputs.restream.sink import RestreamSink

    return [RestreamSink(parse_target(arguments.restream, arguments.source), labels)]


def _page(arguments: argparse.Namespace, source: Source, facts: dict[str, Any], labels: Sequence[str], meter: Meter, monitor: Monitor) -> WebSink:
    from edge.bundle.manifest import read_bundle
    from edge.datasets.classes import drawn_classes_of
    from edge.outputs.web.metrics import Metrics
    from edge.outputs.web.sink import WebSink
    from edge.outputs.web.state import PageState

    access = _access(arguments)
    state = PageState(source, labels, meter, facts, faces=drawn_classes_of(read_bundle(arguments.bundle)).faces)
    monitor.tell(state.note_telemetry)
    return WebSink(arguments.web_host, arguments.web, access, state, Metrics(source, meter, labels, lambda: state.telemetry))


def _access(arguments: argparse.Namespace) -> Access:
    from edge.outputs.web.access import Access, read_token

    return Access(arguments.web_host, None if arguments.web_token_file is None else read_token(arguments.web_token_file))


def _mavlink(
    arguments: argparse.Namespace,
    labels: Sequence[str],
    meter: Meter,
    monitor: Monitor,
    leveller: Leveller | None,
    surveyor: Surveyor | None,
    utc: UtcClock,
) -> Sink:
    from edge.outputs.mavlink.links import parse_address
    from edge.outputs.mavlink.sink import MavlinkSink
    from edge.vehicle.attitudes import LiveAttitude

    wanting = (None if leveller is None else leveller.attitudes, None if surveyor is None else surveyor.poses)
    hearers: list[UtcClock | LiveAttitude] = [utc, *{id(one): one for one in wanting if isinstance(one, LiveAttitude)}.values()]

    def hear(message: Any, arrived_s: float) -> None:
        for one in hearers:
            one.hear(message, arrived_s)

    return MavlinkSink(parse_address(arguments.mavlink), labels, meter, lambda: monitor.newest, system=arguments.mavlink_system, hear=hear)


def _guard_memory(limit_mib: int, page: WebSink | None, written: Sequence[Sink], monitor: Monitor) -> None:
    from edge.outputs.memory_guard import MemoryGuard, Relief
    from edge.outputs.segments import SegmentedVideoSink

    reliefs = [] if page is None else [Relief("all but one of the page's pictures a second", page.spare)]
    reliefs += [Relief("the video", sink.pause) for sink in written if isinstance(sink, SegmentedVideoSink)]
    guard = MemoryGuard(limit_mib, reliefs)
    monitor.tell(guard.note)
    if page is not None:
        page.state.warnings.append(lambda: guard.warning)
