"""A ground station or vehicle in a process of its own: prints each message that pymavlink decodes as a JSON line, and sends heartbeats if told to.

A vehicle tells a roll 20 times a second if it is given one, in degrees; its gimbal tells its own. It begins at a time of day if it is given that.

python mavlink_station.py ADDRESS [SYSTEM [COMPONENT TYPE AUTOPILOT [ROLL [GIMBAL_ROLL [UTC_S]]]]]
"""

from __future__ import annotations

import json
import math
import os
import sys
import time

os.environ["MAVLINK20"] = "1"

from pymavlink import mavutil

GIMBAL = 154


def main(
    address: str,
    system: int = 0,
    component: int = 1,
    kind: int = 2,
    autopilot: int = 3,
    roll: int | None = None,
    gimbal_roll: int | None = None,
    utc_s: int | None = None,
) -> None:
    link = mavutil.mavlink_connection(address, source_system=system or 255, source_component=component, dialect="common")
    print(json.dumps({"type": "READY"}), flush=True)
    started = time.monotonic()
    sent = turned = 0.0
    while True:
        if roll is not None and time.monotonic() - turned > 0.05:
            turned = time.monotonic()
            link.mav.attitude_send(int(turned * 1000) & 0xFFFFFFFF, math.radians(roll), 0.1, -0.5, 0.0, 0.0, 0.0)
            if gimbal_roll is not None:
                half = math.radians(gimbal_roll) / 2
                link.mav.srcComponent = GIMBAL
                link.mav.gimbal_device_attitude_status_send(
                    0, 0, int(turned * 1000) & 0xFFFFFFFF, 32, [math.cos(half), math.sin(half), 0.0, 0.0], *[math.nan] * 3, 0, math.nan
                )
                link.mav.srcComponent = component
        if system and time.monotonic() - sent > 0.2:
            sent = time.monotonic()
            link.mav.heartbeat_send(kind, autopilot, 0, 0, 4)
            if utc_s is not None:
                link.mav.system_time_send(round((utc_s + sent - started) * 1e6), int(sent * 1000) & 0xFFFFFFFF)
        message = link.recv_match(blocking=True, timeout=0.1 if roll is None else 0.02)
        if message is not None:
            fields = {key: value for key, value in message.to_dict().items() if not isinstance(value, (bytes, bytearray))}
            told = {"type": message.get_type(), "system": message.get_srcSystem(), "component": message.get_srcComponent(), **fields}
            told["kind"] = fields.get("type") if message.get_type() == "HEARTBEAT" else None
            told["type"] = message.get_type()
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
