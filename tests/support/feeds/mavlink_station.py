"""A ground station or vehicle in a process of its own: prints each message that pymavlink decodes as a JSON line, and sends heartbeats if told to.

python mavlink_station.py ADDRESS [SYSTEM [COMPONENT TYPE AUTOPILOT]]
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ["MAVLINK20"] = "1"

from pymavlink import mavutil


def main(address: str, system: int = 0, component: int = 1, kind: int = 2, autopilot: int = 3) -> None:
    link = mavutil.mavlink_connection(address, source_system=system or 255, source_component=component, dialect="common")
    print(json.dumps({"type": "READY"}), flush=True)
    sent = 0.0
    while True:
        if system and time.monotonic() - sent > 0.2:
            sent = time.monotonic()
            link.mav.heartbeat_send(kind, autopilot, 0, 0, 4)
        message = link.recv_match(blocking=True, timeout=0.1)
        if message is not None:
            fields = {key: value for key, value in message.to_dict().items() if not isinstance(value, (bytes, bytearray))}
            told = {"type": message.get_type(), "system": message.get_srcSystem(), "component": message.get_srcComponent(), **fields}
            told["kind"] = fields.get("type") if message.get_type() == "HEARTBEAT" else None
            told["type"] = message.get_type()
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
