"""The part of scripts/deploy that runs on the board. It is carried there, and needs Python 3.8 and nothing else, so that an old board is refused in words.

A release is proved in its own folder before /opt/signwing/current, a link, is switched to it by a rename. What is being switched stands in
switching.json until the new release has proved healthy: whoever comes next after a crash takes the switch back first.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

HOME = Path("/opt/signwing")
RELEASES, CURRENT, LOCK, SWITCHING = HOME / "releases", HOME / "current", HOME / "lock", HOME / "switching.json"
UNIT = "signwing.service"
PROVED = "release.json"
KEPT = 3
ROOM_MIB = 512
"""For the virtual environment, and for engines with TensorRT's timing cache."""
BUILD_MIB = 1024
"""Memory that a build of an engine needs to start with."""
_PR_SET_PDEATHSIG = 1


class Refused(Exception):  # noqa: N818 - it says what it is, as edge.errors does
    """What is told in one line."""


def say(text):
    """Tell the desk; if it is gone, what is under way is taken back."""
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for the rest of the process
        raise Refused("the connection to the desk is gone: deploy again") from None


def status(arguments):
    """Print what is current and what else is kept."""
    current = _current()
    for release in _proved():
        told = json.loads((release / PROVED).read_text())
        say(f"{'* ' if release.name == current else '  '}{release.name}  {told['bundle']}  since {told['at']}  engine {told['engine']}")
    if current is None:
        say("nothing is deployed here")
    if SWITCHING.exists():
        say("a switch was cut short: the next deploy or rollback takes it back first")
    if _has_unit():
        say(f"{UNIT}: {_unit()[0]}")


def preflight(arguments):
    """Refuse a board that the release would not run on, before anything is carried; print "current" if there is nothing to do."""
    if _current() == arguments.id and _told(arguments.id).get("engine") == arguments.engine and not SWITCHING.exists() and _whole(RELEASES / arguments.id):
        print("current", flush=True)
        return
    if not arguments.force:
        refuse_jetpack(arguments.engine)
        _refuse_room(arguments)
    print("wanted", flush=True)


def missing(arguments):
    """Print the files of SHA256SUMS that the upload lacks, or has otherwise, each ended by a zero byte."""
    for name, digest in _sums(arguments.upload):
        if not _holds(arguments.upload / name, digest):
            sys.stdout.write(name + "\0")


def install(arguments):
    """Make an upload the current release, or leave the former one current and say why."""
    with _locked():
        _settle()
        release = RELEASES / arguments.id
        _end_orphans(release)
        if not _whole(release):
            _take(arguments.upload, release)
        say(f"{arguments.id}: whole")
        python = _venv(release)
        _engine(release, python, arguments.engine)
        _run("edge check", [python, "-m", "edge", "check", "bundle", "--engine", arguments.engine], release)
        former = _current()
        _switch_and_watch(arguments.id, former, arguments.watch)
        told = {"id": arguments.id, "bundle": json.loads((release / "bundle/manifest.json").read_text())["name"], "engine": arguments.engine, "at": _now()}
        _write(release / PROVED, json.dumps(told))
        _prune()
        shutil.rmtree(arguments.upload, ignore_errors=True)
        say(
            f"{arguments.id} is current" + (f", {former} is kept: scripts/deploy HOST --rollback goes back to it" if former not in (None, arguments.id) else "")
        )


def rollback(arguments):
    """Make the release current that was current before."""
    with _locked():
        _settle()
        current = _current()
        others = [release.name for release in _proved() if release.name != current]
        if not others:
            raise Refused("wanted a former release to go back to, found none: deploy one")
        _switch_and_watch(others[0], current, arguments.watch)
        told = _told(others[0])
        told["at"] = _now()
        _write(RELEASES / others[0] / PROVED, json.dumps(told))
        say(f"{others[0]} is current, {current} is kept")


def refuse_jetpack(engine):
    """Refuse a board of another JetPack, and a PC unless ONNX Runtime is asked for."""
    from jetpack import refusal

    try:
        text = Path("/etc/nv_tegra_release").read_text()
    except OSError:
        if engine == "onnxruntime":
            return
        raise Refused("wanted a Jetson, found none: --engine onnxruntime deploys to a PC") from None
    found = re.search(r"^# R(\d+) \(release\), REVISION: ([\d.]+)", text, re.MULTILINE)
    reason = refusal(f"{found[1]}.{found[2]}" if found else "of an unknown release")
    if reason:
        raise Refused(f"{reason} (--force tries all the same)")


def _refuse_room(arguments):
    place = HOME if HOME.exists() else HOME.parent
    release, upload = (_bytes_in(folder) for folder in (RELEASES / arguments.id, arguments.upload))  # of a deploy that was cut short
    for folder, wanted in ((place, arguments.bytes - release + (ROOM_MIB << 20)), (Path.home(), arguments.bytes - upload)):
        free = shutil.disk_usage(str(folder)).free
        if free < wanted:
            raise Refused(f"wanted {wanted >> 20} MiB of disk for a release in {folder}, found {free >> 20}: free some")
    available = next(int(line.split()[1]) >> 10 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    if arguments.engine != "onnxruntime" and available < BUILD_MIB:
        raise Refused(f"wanted {BUILD_MIB} MiB of memory to build engines in, found {available}: sudo systemctl isolate multi-user.target ends the desktop")


def _bytes_in(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) if folder.is_dir() else 0


def _end_orphans(release):
    """End what a killed deploy left running in its release: it would write into what is made anew. What is current there is the service's."""
    if release.name == _current():
        return
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            place = Path(os.readlink(str(entry / "cwd"))) if entry.name.isdigit() else HOME  # noqa: PTH115 - Python 3.8
            if release == place or release in place.parents:
                os.kill(int(entry.name), signal.SIGKILL)
                say(f"ended process {entry.name}, which a killed deploy left")


def _take(upload, release):
    _verify(upload)
    part = release.with_name(f"{release.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name in ["SHA256SUMS", *(name for name, _ in _sums(upload))]:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(upload / name), str(part / name))
        (part / "edge/models").symlink_to("../bundle")  # the default of every command
        os.sync()
        shutil.rmtree(release, ignore_errors=True)
        part.rename(release)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _venv(release):
    python = release / "venv/bin/python"
    if not (release / "venv/made").exists():
        wheels = sorted((release / "wheels").glob("*.whl"))
        made = [shutil.which("python3"), "-m", "venv", "--clear", "--system-site-packages", *([] if wheels else ["--without-pip"]), "venv"]
        _run("the virtual environment (apt install python3-venv)", made, release)
        if wheels:
            _run("the wheels", [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *wheels], release)
        (release / "venv/made").touch()
    return python


def _engine(release, python, engine):
    if engine == "onnxruntime":
        say("no engine is built: ONNX Runtime was asked for")
        return
    if subprocess.run([str(python), "-c", "import tensorrt"], capture_output=True, check=False).returncode:  # noqa: S603
        raise Refused("wanted TensorRT, found none that can be imported: sudo apt install python3-libnvinfer, or --engine onnxruntime")
    _run("the build of the engines", [python, "-m", "export", "engine", "bundle"], release)


def _run(what, command, folder):
    """Run a step in the release's folder, its lines going to the desk as they come; it dies with this process."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", "PYTHONUNBUFFERED": "1", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(  # noqa: S603
        [str(part) for part in command],
        cwd=str(folder),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - there are no threads here
    ) as child:
        last = ""
        try:
            for line in child.stdout:
                last = line.strip() or last
                say(f"  {line.rstrip()}")
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise Refused(f"wanted {what} to succeed, found exit code {child.returncode} ({last}): the former release stays")


def _die_with_parent():
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _switch_and_watch(release, former, seconds):
    """Make a release current and watch its service; on any failure the former one is current again."""
    _write(SWITCHING, json.dumps({"from": former, "to": release}))
    try:
        _link(release)
        if not _has_unit():
            say(f"no {UNIT} here, so none is restarted: python -m edge service install --source URI --apply, in {CURRENT}")
        else:
            _restart()
            _watch(seconds)
    except BaseException:
        _take_back(former)
        raise
    SWITCHING.unlink()


def _watch(seconds):
    say(f"watching {UNIT} for {seconds} s")
    _, before = _unit()
    for second in range(1, max(seconds, 1) + 1):
        time.sleep(1)
        say(f"  {second} s")  # tells too whether the desk is still there
        state, restarts = _unit()
        if state not in ("active", "activating") or restarts != before:
            raise Refused(f"wanted {UNIT} to stay up, found it {state} after {restarts} restarts: the former release is current again (journalctl -u signwing)")
    if state != "active":
        raise Refused(f"wanted {UNIT} to be active within {seconds} s, found it {state}: the former release is current again (journalctl -u signwing)")


def _settle():
    """Take back a switch that was cut short."""
    if SWITCHING.exists():
        cut = json.loads(SWITCHING.read_text())
        say(f"the switch to {cut['to']} was cut short, {cut['from'] or 'nothing'} is current again")
        _take_back(cut["from"])


def _take_back(former):
    if former is None:
        CURRENT.unlink(missing_ok=True)
    else:
        _link(former)
    if _has_unit():
        subprocess.run(["systemctl", "restart" if former else "stop", UNIT], capture_output=True, check=False)  # noqa: S603, S607
    SWITCHING.unlink()


def _link(release):
    beside = CURRENT.with_name("current.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(f"releases/{release}")
    beside.replace(CURRENT)


def _restart():
    subprocess.run(["systemctl", "reset-failed", UNIT], capture_output=True, check=False)  # noqa: S603, S607
    done = subprocess.run(["systemctl", "restart", UNIT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603, S607
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise Refused(f"wanted {UNIT} to start, found: {last}: the former release is current again (journalctl -u signwing)")


def _has_unit():
    return Path("/etc/systemd/system", UNIT).exists()


def _unit():
    asked = ["systemctl", "show", UNIT, "-p", "ActiveState", "-p", "NRestarts"]
    told = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=False).stdout  # noqa: S603
    values = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    return values.get("ActiveState", "unknown"), values.get("NRestarts", "0")


@contextmanager
def _locked():
    """Hold the lock. The kernel lets go of it with its holder; what still stands in it then tells of one that was killed."""
    RELEASES.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as lock:
        lock.seek(0)
        held = lock.read().strip()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"wanted to be alone, found a deploy under way ({held}): wait for it") from None
        if held:
            say(f"taking over from a deploy that was killed ({held})")
        lock.truncate(0)
        lock.write(f"pid {os.getpid()} of {os.environ.get('SUDO_USER') or 'root'} since {_now()}")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _current():
    try:
        return Path(os.readlink(str(CURRENT))).name  # noqa: PTH115 - Python 3.8
    except OSError:
        return None


def _proved():
    """Releases that have run, the one that was made current last first."""
    return sorted((path.parent for path in RELEASES.glob(f"*/{PROVED}")), key=lambda release: _told(release.name).get("at", ""), reverse=True)


def _told(release):
    try:
        return json.loads((RELEASES / release / PROVED).read_text())
    except OSError:
        return {}


def _prune():
    current = _current()
    kept = {current, *[release.name for release in _proved() if release.name != current][: KEPT - 1]}
    for release in RELEASES.iterdir():
        if release.name not in kept:
            shutil.rmtree(release)


def _sums(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    pairs = [(line[66:], line[:64]) for line in lines]
    if any(name.startswith("/") or ".." in name.split("/") for name, _ in pairs):
        raise Refused("wanted SHA256SUMS of files within a release, found others: deploy from a clean checkout")
    return pairs


def _whole(folder):
    return (folder / "SHA256SUMS").exists() and all(_holds(folder / name, digest) for name, digest in _sums(folder))


def _verify(folder):
    for name, digest in _sums(folder):
        if not _holds(folder / name, digest):
            raise Refused(f"wanted {name} as it left the desk, found it damaged: deploy again")


def _holds(path, digest):
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def _write(path, text):
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)


def _now():
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _interrupted(number, frame):
    for other in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(other, signal.SIG_IGN)  # a second one would cut short what is being taken back
    raise Refused(f"{signal.Signals(number).name} came: deploy again")


def main():
    """Run one step; a refusal is one line on the standard error and exit code 1."""
    parser = argparse.ArgumentParser()
    steps = parser.add_subparsers(dest="step")
    for step in (status, preflight, missing, install, rollback):
        options = steps.add_parser(step.__name__)
        options.set_defaults(step=step)
        options.add_argument("--id", default="")
        options.add_argument("--upload", type=Path)
        options.add_argument("--bytes", type=int, default=0)
        options.add_argument("--engine", default="tensorrt")
        options.add_argument("--watch", type=int, default=20)
        options.add_argument("--force", action="store_true")
    arguments = parser.parse_args()
    os.umask(0o022)  # the service reads the release as another user
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupted)
    try:
        arguments.step(arguments)
    except (Refused, OSError) as failure:
        with suppress(OSError):
            print(f"scripts/deploy: on the board: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
