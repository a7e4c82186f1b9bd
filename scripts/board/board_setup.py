"""The part of scripts/provision that runs on the board: what is not as it should be, changed with --apply, recorded, and taken back with --undo.

Carried there; needs Python 3.8 and nothing else.
"""

from __future__ import annotations

import argparse
import grp
import json
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from board import refuse_jetpack
from releases import Refused, read_state, replace_file

RECORD = Path("/var/lib/signwing/provision.json")
PACKAGES = ("python3-libnvinfer", "python3-opencv", "python3-venv", "rsync")
GROUPS = ("video", "dialout")
SWAP = Path("/var/signwing.swap")
SWAP_MIB = 4096
"""With the half of memory that JetPack's own zram takes, what a build of engines is seen to want."""
MODES = Path("/etc/nvpmodel.conf")
HEADLESS, DESKTOP = "multi-user.target", "graphical.target"


@dataclass
class Change:
    """Something to change: in words, how, and what the record keeps so that it can be taken back."""

    text: str
    apply: Callable[[], None]
    record: dict


def plan(arguments):
    """Return what is not as it should be."""
    changes = []
    lacking = [package for package in PACKAGES if not _installed(package)]
    if lacking:
        changes.append(Change(f"install {' '.join(lacking)}", lambda: _install(lacking), {"packages": lacking}))
    if len(Path("/proc/swaps").read_text().splitlines()) < 2 and not SWAP.exists():
        changes.append(Change(f"make {SWAP_MIB} MiB of swap in {SWAP}", _make_swap, {"swap": str(SWAP)}))
    user = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    groups = [name for name in GROUPS if _lacks(user, name)]
    if groups:
        changes.append(
            Change(f"add {user} to {', '.join(groups)} (log in again)", lambda: _do("usermod", "-aG", ",".join(groups), user), {"user": user, "groups": groups})
        )
    mode = _power_mode()
    if arguments.power and mode != arguments.power:
        number = _number_of(arguments.power)
        changes.append(Change(f"power mode {arguments.power}, which was {mode}", lambda: _set_power(arguments.power, number), {"power": mode}))
    if arguments.headless and _ask("systemctl", "get-default") == DESKTOP:
        changes.append(Change("start without a desktop from the next boot on", lambda: _do("systemctl", "set-default", HEADLESS), {"headless": True}))
    return changes


def provision(arguments):
    """Show the plan, or carry it out."""
    if not arguments.force:
        refuse_jetpack("tensorrt")
    changes = plan(arguments)
    for change in changes:
        print(change.text if arguments.apply else f"would {change.text}", flush=True)
        if arguments.apply:
            _record([*_recorded(), change.record])  # before it is done: half of it can be taken back too
            change.apply()
    if not changes:
        print("the board is as it should be")
    elif not arguments.apply:
        print("nothing was changed: --apply does")
    if not arguments.headless and _ask("systemctl", "get-default") == DESKTOP:
        print("offer: --headless starts without a desktop, which leaves more memory to the GPU")
    if not arguments.power and _power_mode():
        print(f"offer: --power MODE, now {_power_mode()}, of {', '.join(_modes())}")


def undo(arguments):
    """Take back what was changed, the last first."""
    changes = _recorded()
    while changes:
        change = changes[-1]
        print(("take back " if arguments.apply else "would take back ") + ", ".join(f"{key} {value}" for key, value in change.items()), flush=True)
        if arguments.apply:
            _take_back(change)
            _record(changes[:-1])
        changes = changes[:-1]
    print("nothing is left to take back" if arguments.apply or not _recorded() else "nothing was changed: --apply does")


def _take_back(change):
    if "packages" in change:
        there = [package for package in change["packages"] if _installed(package)]
        if there:
            _do("apt-get", "remove", "-y", "-q", *there)
    if "swap" in change:
        subprocess.run(["swapoff", change["swap"]], capture_output=True, check=False)  # noqa: S603, S607
        if Path(change["swap"]).exists():
            Path(change["swap"]).unlink()
        _set_fstab("")
    for group in change.get("groups", ()):
        if not _lacks(change["user"], group):
            _do("gpasswd", "-d", change["user"], group)
    if change.get("power"):
        _set_power(change["power"], _number_of(change["power"]))
    if "headless" in change:
        _do("systemctl", "set-default", DESKTOP)


def _install(packages):
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    _do("apt-get", "update", "-q")
    _do("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)


def _make_swap():
    _do("fallocate", "-l", f"{SWAP_MIB}M", str(SWAP))
    SWAP.chmod(0o600)
    _do("mkswap", str(SWAP))
    _do("swapon", str(SWAP))
    _set_fstab(f"{SWAP} none swap sw 0 0\n")


def _set_fstab(line):
    fstab = Path("/etc/fstab")
    kept = [row for row in fstab.read_text().splitlines(keepends=True) if not row.startswith(f"{SWAP} ")] if fstab.exists() else []
    replace_file(fstab, "".join(kept) + line)


def _set_power(name, number):
    # It may ask whether to reboot now: no.
    subprocess.run(["nvpmodel", "-m", number], input="no\n", text=True, capture_output=True, check=False)  # noqa: S603, S607
    if _power_mode() != name:
        raise Refused(
            f"wanted power mode {name}, found {_power_mode()} after nvpmodel -m {number}: call sudo nvpmodel -m {number} on the board, it may want a reboot"
        )


def _modes():
    """The power modes of this image, name to number: the numbers differ between images."""
    text = MODES.read_text() if MODES.exists() else ""
    return {name: number for number, name in re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", text)}


def _number_of(name):
    if name not in _modes():
        raise Refused(f"wanted a power mode of this board ({', '.join(_modes()) or 'it has none'}), found {name}: take one of them")
    return _modes()[name]


def _power_mode():
    found = re.search(r"NV Power Mode: *(\S+)", _ask("nvpmodel", "-q"))
    return found[1] if found else None


def _installed(package):
    return _ask("dpkg-query", "-W", "-f", "${db:Status-Status}", package) == "installed"


def _lacks(user, group):
    try:
        found = grp.getgrnam(group)
    except KeyError:  # no such group here, so nothing asks for it
        return False
    return user != "root" and user not in found.gr_mem


def _recorded():
    return read_state(RECORD, [])


def _record(changes):
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    replace_file(RECORD, json.dumps(changes))


def _ask(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout.strip()  # noqa: S603
    except OSError:
        return ""


def _do(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise Refused(f"wanted {' '.join(command[:2])} to succeed, found: {last}: cure that and call again")


def main():
    """Plan, apply or undo; a refusal is one line on the standard error and exit code 1."""
    parser = argparse.ArgumentParser()
    for flag in ("--apply", "--headless", "--undo", "--force"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--power")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # an ordinary user's has neither
    if RECORD.exists() and not RECORD.read_bytes().startswith(b"["):
        print(f"what was changed here before is unknown: {RECORD} is damaged", flush=True)
    try:
        (undo if arguments.undo else provision)(arguments)
    except (Refused, OSError) as failure:
        print(f"scripts/provision: on the board: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
