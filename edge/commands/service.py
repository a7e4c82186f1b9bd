"""The systemd unit that keeps `edge run` going: started with the board, watched, started anew when it hangs or dies, and kept from what it does not need."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.commands.service_options import STATE, Stored
from edge.errors import InputError, MachineError
from edge.files import telling_refusal, written_beside

NAME = "signwing.service"
UNITS = Path("/etc/systemd/system")
DEPLOYED = Path("/opt/signwing/current")
"""The link that scripts/deploy switches: a unit that names what is behind it would stay with one release."""
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108
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
{places}Environment=PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1 XDG_CACHE_HOME=/var/lib/{state}
WatchdogSec={watchdog}
Restart=on-failure
RestartSec=2
TimeoutStartSec=120
TimeoutStopSec=30
KillMode=mixed
UMask=0077

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={homes}
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
PrivateTmp={private_tmp}
PrivateMounts=yes
DevicePolicy=closed
DeviceAllow=char-* rw
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6{netlink}
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(kept: Stored, user: str, groups: Sequence[str]) -> str:
    """Write the unit's text.

    Args:
        kept: what it runs.
        user: that the service runs as.
        groups: that the user needs for cameras, the GPU and a serial autopilot; those that are not on this machine would keep it from starting.

    Raises:
        InputError: a character in an argument or a folder that no unit can hold, or a file that the user cannot read.
    """
    for path in kept.read:
        if path.is_file() and not _may_read(user, path.stat()):
            raise InputError(f"wanted {path} to be readable by {user}, whom the service runs as, found it is not: sudo chown {user} {shlex.quote(str(path))}")
    folder = Path(__file__).resolve().parents[2]
    python = sys.executable
    if DEPLOYED.is_symlink() and DEPLOYED.resolve() == folder:
        folder, python = DEPLOYED, str(DEPLOYED / "venv/bin/python")
    told = ["-m", "edge", "run", *kept.words]
    if any(set(part) & set("\n\r") or part.endswith("\\") for part in (python, *told, str(folder), user)):
        raise InputError("wanted a source and options of one line each, found a line break, or a backslash at an end: leave it out")
    places = _places(kept, [folder, *map(Path, (sys.prefix, sys.base_prefix))])
    return _UNIT.format(
        command=" ".join([_quoted(_unexpanded(python)), *(_quoted(_unexpanded(part).replace("$", "$$")) for part in told)]),
        folder=_unexpanded(str(folder)),
        user=_unexpanded(user),
        groups=_unexpanded(" ".join(groups)),
        state=STATE.name,
        places="".join(f"{key}={' '.join(map(_place, paths))}\n" for key, paths in places.items() if paths),
        homes="tmpfs" if any(_is_in(path, _HOMES) for paths in places.values() for path in paths) else "yes",
        netlink="" if kept.source.startswith("rtp://@:") else " AF_NETLINK",  # interfaces to join a multicast group on, and GStreamer's search for cameras
        watchdog=WATCHDOG_S,
        private_tmp="no" if kept.source.startswith("csi://") else "yes",  # a CSI camera is reached through /tmp/argus_socket
    )


def _places(kept: Stored, code: Sequence[Path]) -> dict[str, list[Path]]:
    """Return what the service may write, and what it needs to see of the home folders and of /tmp: it has empty ones in their place."""
    written = {inside: [path for path in kept.written if _is_in(path, (*_HOMES, *_TEMPORARY)) is inside] for inside in (False, True)}
    read = {path for each in (*code, *kept.read) for path in (each, each.resolve()) if _is_in(path, _HOMES)}
    read |= {path for path in kept.read if _is_in(path, _TEMPORARY)}
    for path in {*kept.written, *read}:
        if set(str(path)) & set("\"'\\:"):
            raise InputError(f"wanted files and folders without quotes, colons and backslashes, which a unit cannot hold, found {path}: take another")
    return {"ReadWritePaths": written[False], "BindPaths": written[True], "BindReadOnlyPaths": sorted(read)}


def _place(path: Path) -> str:
    return f'"{_unexpanded(str(path))}"'


def _is_in(path: Path, folders: Sequence[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


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


def _may_read(user: str, status: os.stat_result) -> bool:
    """Tell whether a user may read a file by its mode: a service has no capability that would let root read what is not root's."""
    import pwd

    try:
        account = pwd.getpwnam(user)
    except KeyError:  # made later, or told by a directory service
        return True
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & stat.S_IRUSR)
    if status.st_gid in os.getgrouplist(user, account.pw_gid):
        return bool(status.st_mode & stat.S_IRGRP)
    return bool(status.st_mode & stat.S_IROTH)


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


def _unexpanded(text: str) -> str:
    """Return a text of which systemd expands nothing, as systemd.unit(5) wants it."""
    return text.replace("%", "%%")


def _quoted(part: str) -> str:
    """Quote an argument as systemd.syntax(7) wants it."""
    escaped = part.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if not escaped or set(escaped) & set(" \t'\"\\;&?*") else escaped


def default_user() -> str:
    """Return who the service runs as by default: who called sudo, or the present user."""
    return os.environ.get("SUDO_USER") or os.environ.get("USER") or "root"
