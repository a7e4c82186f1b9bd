"""A board to deploy to: a real sshd in a root and a mount namespace of its own on loopback, with a Jetson's identity files and a small disk.

The system's Python sees the libraries of the interpreter that runs the tests. There is no systemd as process 1 in such a root, so `systemctl` is a
stand-in that runs the unit's own command line; everything else is the real thing.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
JETPACK_62 = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n"
JETPACK_51 = "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023\n"
MODEL = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
INSTALL = "cd /opt/signwing/current && venv/bin/python -m edge service install --source '{source}' --options='--engine onnxruntime {options}' --user root"
SYSTEMCTL = """#!/bin/bash
# Runs the unit's command line, as systemd would.
unit=/etc/systemd/system/signwing.service
alive() { [ -e /run/signwing.pid ] && readlink "/proc/$(cat /run/signwing.pid)/exe" > /dev/null; }  # a zombie has none
stop() { if alive; then kill -9 "$(cat /run/signwing.pid)"; fi; rm -f /run/signwing.pid; }
case $1 in
    show) if alive; then echo ActiveState=active; else echo ActiveState=failed; fi; echo NRestarts=0 ;;
    stop) stop ;;
    get-default) cat /etc/default-target ;;
    set-default) echo "$2" > /etc/default-target ;;
    restart)
        stop
        cd "$(sed -n 's/^WorkingDirectory=//p' $unit)" || exit 1
        eval "setsid $(sed -n 's/^ExecStart=//p' $unit) > /run/signwing.log 2>&1 < /dev/null &" # its quotes are those of a shell, too
        echo $! > /run/signwing.pid ;;
esac
"""
MOUNTS = """set -eu
root=$1 packages=$2
mount --make-rprivate /
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind -o ro /usr "$root/usr"
mount --bind "$packages" "$root/usr/local/lib/python$3/dist-packages"
mount --bind "$root/systemctl" "$root/usr/bin/systemctl"
mount -t tmpfs -o "size=$4,mode=755" tmpfs "$root/opt"
exec chroot "$root" /usr/sbin/sshd -D -e -f /etc/ssh/sshd_config
"""


class BoardRoot:
    """A running board: `config` is an ssh configuration in which it is called "board"; `files` is its root as this machine sees it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.folder, self.process, self.port = folder, process, port
        self.config = folder / "ssh_config"
        self.files = Path(f"/proc/{process.pid}/root")
        self.opt = self.files / "opt/signwing"

    def deploy(self, *argv: object, host: str = "board", script: str = "deploy") -> subprocess.Popen[str]:
        command = [ROOT / "scripts" / script, "-F", self.config, host, *argv]
        return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def deployed(self, *argv: object, host: str = "board", script: str = "deploy") -> str:
        done = self.deploy(*argv, host=host, script=script)
        out, err = done.communicate(timeout=180)
        assert done.returncode == 0, out + err
        return out

    def refused(self, *argv: object, host: str = "board", script: str = "deploy") -> str:
        done = self.deploy(*argv, host=host, script=script)
        out, err = done.communicate(timeout=180)
        assert done.returncode == 1, out + err
        assert err.count("\n") == 1, err
        assert err.startswith(f"scripts/{script}: "), err
        return err

    @property
    def current(self) -> str | None:
        try:
            return (self.opt / "current").readlink().name
        except OSError:
            return None

    def serving(self) -> str | None:
        """The release whose service runs, as the kernel tells it."""
        try:
            pid = int((self.files / "run/signwing.pid").read_text())
            return Path(f"/proc/{pid}/cwd").readlink().name
        except (OSError, ValueError):
            return None

    def install_unit(self, source: str | None = None, options: str = "") -> None:
        """Write the unit that the release on the board prints; without a source, for a camera that sends nothing."""
        command = ["ssh", "-F", self.config, "board", INSTALL.format(source=source or f"rtp://@127.0.0.1:{self.port + 1}", options=options)]
        unit = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "/opt/signwing/current/venv/bin/python" in unit
        (self.files / "etc/systemd/system/signwing.service").write_text(unit)

    def agents(self) -> list[int]:
        """Processes of scripts/board/board.py on the board."""
        return self._processes(lambda words: b".cache/signwing/kit/board.py" in words and words[0].endswith(b"python3"))

    def transfers(self) -> list[int]:
        """Processes on the board that take a copy, once it has begun to fill."""
        return self._processes(lambda words: words[:2] == [b"rsync", b"--server"] and any(self.files.glob("root/.cache/signwing/*/wheels/.*")))

    def _processes(self, wanted: Callable[[list[bytes]], bool]) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
                if words and wanted(words) and (entry / "root").samefile(self.files):
                    found.append(int(entry.name))
        return found

    def stop(self) -> None:
        inside = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _in(entry, self.files)]
        for pid in inside:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _in(entry: Path, root: Path) -> bool:
    try:
        return (entry / "root").samefile(root)
    except OSError:
        return False


def lacking() -> str:
    """Say what this machine lacks to be a board; nothing if it can."""
    missing = [tool for tool in ("/usr/sbin/sshd", "ssh", "ssh-keygen", "sudo", "rsync", "unshare") if not shutil.which(tool)]
    if missing:
        return f"needs {', '.join(missing)}"
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False).returncode:
        return "needs root that may mount in a namespace of its own"
    version = subprocess.run(["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True, text=True, check=False)
    ours = ".".join(map(str, sys.version_info[:2]))
    if version.stdout.strip() != ours:
        return f"needs a /usr/bin/python3 of this interpreter's version {ours}, whose libraries it is lent"
    return ""


@contextmanager
def board_root(folder: Path, release: str, disk: str = "700m") -> Iterator[BoardRoot]:
    """Start a board in an empty folder; `release` is its /etc/nv_tegra_release, `disk` the size of its /opt."""
    if reason := lacking():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    root, keys = folder / "root", folder / "keys"
    for name in ("dev", "proc", "usr", "opt", "run/sshd", "etc/ssh", "etc/systemd/system", "root", "home/pilot", "home/flyer", "tmp", "var/empty"):
        (root / name).mkdir(parents=True, exist_ok=True)
    keys.mkdir()
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name], check=True)
    shutil.copy(keys / "host", root / "etc/ssh/host")
    shutil.copy(keys / "user.pub", root / "etc/ssh/authorized")
    (root / "etc/pam.d").mkdir()
    (root / "etc/pam.d/sudo").write_text("".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session")))
    for name in ("ld.so.cache", "nsswitch.conf", "login.defs"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc")
    users = "pilot:x:1001:1001::/home/pilot:/bin/bash\nflyer:x:1002:1002::/home/flyer:/bin/bash\n"
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n{users}")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\nvideo:x:44:\ndialout:x:20:\npilot:x:1001:\nflyer:x:1002:\n")
    (root / "etc/shadow").write_text("".join(f"{user}:*:19000:0:99999:7:::\n" for user in ("root", "sshd", "pilot", "flyer")))
    (root / "etc/sudoers").write_text("root ALL=(ALL) ALL\nflyer ALL=(ALL) NOPASSWD: ALL\n")
    (root / "etc/sudoers").chmod(0o440)
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    (root / "etc/nv_tegra_release").write_text(release)
    tree = root / "sys/firmware/devicetree/base"
    tree.mkdir(parents=True)
    (tree / "model").write_text(f"{MODEL}\0")
    (tree / "compatible").write_text("nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0")
    (root / "systemctl").write_text(SYSTEMCTL)
    (root / "systemctl").chmod(0o755)
    (root / "etc/default-target").write_text("graphical.target\n")
    for number, name in ((1001, "pilot"), (1002, "flyer")):
        os.chown(root / "home" / name, number, number)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (root / "etc/ssh/sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nListenAddress ::1\nHostKey /etc/ssh/host\nAuthorizedKeysFile /etc/ssh/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    known = (keys / "host.pub").read_text()
    (keys / "known").write_text(f"[127.0.0.1]:{port},[::1]:{port} {known}")
    (folder / "ssh_config").write_text(
        f"Host board pilot flyer\n HostName 127.0.0.1\n Port {port}\n IdentityFile {keys}/user\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {keys}/known\n GlobalKnownHostsFile /dev/null\n StrictHostKeyChecking yes\n"
        "Host pilot\n User pilot\nHost flyer\n User flyer\nHost board\n User root\n"
        "Host nobody\n HostName 127.0.0.1\n Port 1\n"
    )
    packages, version = sysconfig.get_paths()["purelib"], ".".join(map(str, sys.version_info[:2]))
    with (folder / "sshd.log").open("wb") as log:
        sshd = subprocess.Popen(["unshare", "-m", "sh", "-c", MOUNTS, "sh", root, packages, version, disk], stdout=log, stderr=log)
    board = BoardRoot(folder, sshd, port)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"no sshd: {(folder / 'sshd.log').read_text()}")
        yield board
    finally:
        board.stop()
