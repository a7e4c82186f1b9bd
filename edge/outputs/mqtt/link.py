"""One connection to a broker. The one file that imports paho-mqtt; single-threaded: nothing happens but within its calls."""

from __future__ import annotations

import secrets
import time
from typing import Any

from edge.board.extras import install
from edge.errors import MissingDependency
from edge.outputs.mqtt.address import Broker

KEEPALIVE_S = 15
_ANSWER_S = 5.0
_QOS = 1


def paho() -> Any:
    """Return paho-mqtt's client.

    Raises:
        MissingDependency: it is not installed, or is older than 2.0.
    """
    try:
        import paho.mqtt.client as client
    except ImportError as error:
        raise MissingDependency(f"wanted paho-mqtt for --mqtt, found none: {install('mqtt')}") from error
    if not hasattr(client, "CallbackAPIVersion"):
        raise MissingDependency(f"wanted paho-mqtt 2.0 or newer for --mqtt, found an older one: {install('mqtt')}")
    return client


class Link:
    """Opens a connection and sends over it with QoS 1. What is not acknowledged as it ends, it forgets: that is to be sent again over the next one."""

    def __init__(self, broker: Broker, will: tuple[str, bytes]) -> None:
        """Connect; the broker keeps `will`, a topic and a message, and publishes it, retained, should the connection end without `close`.

        Raises:
            OSError: nobody answers there, or a certificate is not trusted.
        """
        client = paho()
        self._acknowledged: list[int] = []
        self._refusal = ""
        self._success, self._error_string = client.MQTT_ERR_SUCCESS, client.error_string
        self.ready = False
        self._opened_s = time.monotonic()
        # A session of its own each time: what the broker should know of the last one, it knows by our messages.
        self._client = client.Client(client.CallbackAPIVersion.VERSION2, client_id=f"signwing-{secrets.token_hex(6)}", clean_session=True)
        self._client.connect_timeout = _ANSWER_S
        self._client.on_connect, self._client.on_publish = self._answered, self._published
        self._client.will_set(will[0], will[1], _QOS, retain=True)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.secure:
            self._client.tls_set()
        try:
            self._client.connect(broker.host, broker.port, KEEPALIVE_S)
        except ValueError as error:  # such as a name that no host can have
            raise OSError(str(error)) from error

    def publish(self, topic: str, message: bytes, *, retain: bool = False) -> int:
        """Send a message and return the number by which it is acknowledged; only once the link is `ready`.

        Raises:
            OSError: the connection is gone.
        """
        sent = self._client.publish(topic, message, _QOS, retain)
        self._check(sent.rc)
        return int(sent.mid)

    def work(self, wait_s: float) -> list[int]:
        """Wait so long at most for what comes, and return the numbers of messages that the broker has acknowledged.

        Raises:
            OSError: the connection is gone, or was refused.
        """
        code = self._client.loop(wait_s)
        if self._refusal:
            raise OSError(self._refusal)
        self._check(code)
        if not self.ready and time.monotonic() - self._opened_s > _ANSWER_S:
            raise OSError("what listens there does not answer as a broker does")
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def close(self) -> None:
        """Take leave; the broker keeps the will to itself."""
        self._client.disconnect()
        self.drop()

    def drop(self) -> None:
        """End the connection, without leave where none was taken."""
        self._client.on_connect = self._client.on_publish = None  # else the two would keep each other, and their descriptors
        connection = self._client.socket()
        if connection is not None:
            connection.close()

    def _check(self, code: int) -> None:
        if code != self._success:
            raise OSError(f"the connection is gone: {self._error_string(code)}")

    def _answered(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.ready = not reason.is_failure
        self._refusal = f"the broker refuses: {reason}" if reason.is_failure else ""

    def _published(self, client: Any, userdata: Any, number: int, reason: Any, properties: Any) -> None:
        self._acknowledged.append(number)
