"""The systemd unit that keeps `edge run` going: started with the board, watched, started anew when it hangs or dies, and kept from what it does not need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import InputError, MachineError
from edge.files import telling_refusal, written_beside
from edge.sources.uri import source_of, without_credentials

NAME = "signwing.service"
UNITS = Path("/etc/systemd/system")
STATE = "signwing"
DEPLOYED = Path("/opt/signwing/current")
"""The link that scripts/deploy switches: a unit that names what is behind it would stay with one release."""
WATCHDOG_S = 20
"""Longer than any step of the loop, and than opening a camera, which the loop does not wait for."""

_UNIT = """\
# Written by python -m edge service install; change it with systemctl edit signwing.
[Unit]
Description=Signwing: live traffic-sign recognition
Documentation=man:systemd.service(5)
After=network-online.target nvargus-daemon.service
Wants=network-online.target
StartLimitIntervalSec=300
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
User={user}
SupplementaryGroups={groups}
StateDirectory={state}
Environment=PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/var/lib/{state}
WatchdogSec={watchdog}
Restart=on-failure
RestartSec=2
TimeoutStartSec=120
TimeoutStopSec=30
KillMode=mixed
UMask=0027

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateTmp={private_tmp}
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(source: str, user: str, bundle: Path | None, more: Sequence[str], groups: Sequence[str]) -> str:
    """Write the unit's text.

    Args:
        source: as `edge run` takes it.
        user: that the service runs as.
        bundle: None for the one that ships.
        more: other options of `edge run`.
        groups: that the user needs for cameras, the GPU and a serial autopilot; those that are not on this machine would keep it from starting.

    Raises:
        InputError: a line break in an argument, which no unit can hold, or a password in the source.
    """
    if without_credentials(source) != source:
        cure = f"write it into a file that {user} alone can read (chmod 600), and give --source @FILE"
        raise InputError(f"wanted a source without a password, which every user of this machine could read in the unit, found one: {cure}")
    if source.startswith("@"):
        source = f"@{Path(source[1:]).resolve()}"
    folder = Path(__file__).resolve().parents[2]
    python = sys.executable
    if DEPLOYED.is_symlink() and DEPLOYED.resolve() == folder:
        folder, python = DEPLOYED, str(DEPLOYED / "venv/bin/python")
    told = [python, "-m", "edge", "run", source, *(["--bundle", str(Path(bundle).resolve())] if bundle else []), *more]
    if any("\n" in part or "\r" in part for part in (*told, user)):
        raise InputError("wanted a source and options of one line each, found a line break: leave it out")
    private_tmp = "no" if source_of(source).lower().startswith("csi://") else "yes"  # a CSI camera is reached through /tmp/argus_socket
    return _UNIT.format(
        command=" ".join(map(_quoted, told)), folder=folder, user=user, groups=" ".join(groups), state=STATE, watchdog=WATCHDOG_S, private_tmp=private_tmp
    )


def install(text: str, *, apply: bool, units: Path = UNITS) -> None:
    """Print a unit, or write it and start the service with `apply`; one that is there already and differs is replaced.

    Raises:
        OutputError: the unit cannot be written.
        MachineError: systemd refuses.
    """
    path = units / NAME
    if not apply:
        print(text, end="")
        print(f"\n# nothing was changed: --apply writes this to {path} and starts it", file=sys.stderr)
        return
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        print(f"{path} is what it should be")
    else:
        with telling_refusal(path), written_beside(path) as beside:
            beside.write_text(text, encoding="utf-8")
        path.chmod(0o644)
        print(f"written {path}")
    _systemctl("daemon-reload")
    _systemctl("enable", "--now", NAME)


def remove(*, apply: bool, units: Path = UNITS) -> None:
    """Say what would be removed, or stop the service and remove its unit with `apply`.

    Raises:
        OutputError: the unit cannot be removed.
        MachineError: systemd refuses.
    """
    path = units / NAME
    if not path.exists():
        print(f"there is no {path}")
        return
    if not apply:
        print(f"would stop {NAME} and remove {path}; --apply does")
        return
    _systemctl("disable", "--now", NAME)
    with telling_refusal(path):
        path.unlink()
    _systemctl("daemon-reload")
    print(f"removed {path}")


def groups_here(wanted: Sequence[str] = ("video", "render", "dialout")) -> list[str]:
    """Return those of some groups that this machine has."""
    import grp

    names = {group.gr_name for group in grp.getgrall()}
    return [name for name in wanted if name in names]


def _systemctl(*arguments: str) -> None:
    tool = shutil.which("systemctl")
    if tool is None or not Path("/run/systemd/system").is_dir():
        print(f"systemd does not run here: systemctl {' '.join(arguments)} is left to you", file=sys.stderr)
        return
    # A system tool by its full path.
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise MachineError(f"wanted systemctl {' '.join(arguments)} to work, it said: {said}: look at journalctl -u {NAME}")


def _quoted(part: str) -> str:
    """Quote an argument as systemd.syntax(7) and systemd.service(5) want it: percent and dollar signs doubled."""
    escaped = part.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if not escaped or set(escaped) & set(" \t'\"\\;&?*") else escaped


def default_user() -> str:
    """Return who the service runs as by default: who called sudo, or the present user."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"
