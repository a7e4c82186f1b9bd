"""The part of scripts/deploy that runs on the board. It is carried there, and needs Python 3.8 and nothing else, so that an old board is refused in words.

A release is proved in its own folder before /opt/signwing/current, a link, is switched to it by a rename. What is being switched stands in
switching.json until the new release has proved healthy: whoever comes next after a crash takes the switch back first. Each of these steps is on the disk
before the next one begins, so that a power cut is one more kind of crash.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from releases import (
    CURRENT,
    HOME,
    LOCK,
    MARK,
    PROVED,
    RELEASES,
    SWITCHING,
    UNIT,
    Refused,
    bytes_in,
    current_release,
    holds,
    is_whole,
    locked,
    now,
    order_of,
    plain,
    proved_releases,
    prune,
    read_state,
    read_sums,
    record_of,
    remove_file,
    replace_file,
    say,
    sync_disk,
    sync_folder,
    verify,
)

ROOM_MIB = 512
"""For the virtual environment, and for engines with TensorRT's timing cache."""
BUILD_MIB = 1024
"""Memory that a build of an engine needs to start with."""
_PR_SET_PDEATHSIG = 1


def status(arguments):
    """Print what is current and what else is kept."""
    current = current_release()
    for release in proved_releases():
        told = {"bundle": "unknown", "at": "unknown", "engine": "unknown", **record_of(release.name)}
        say(f"{'* ' if release.name == current else '  '}{release.name}  {told['bundle']}  since {told['at']}  engine {told['engine']}")
    if current is None:
        say("nothing is deployed here")
    if SWITCHING.exists():
        say("a switch was cut short: the next deploy or rollback takes it back first")
    if _has_unit():
        say(f"{UNIT}: {_unit()[0]}")


def preflight(arguments):
    """Refuse a board that the release would not run on, before anything is carried; print "current" if there is nothing to do."""
    if (
        current_release() == arguments.id
        and record_of(arguments.id).get("engine") == arguments.engine
        and not SWITCHING.exists()
        and is_whole(RELEASES / arguments.id)
    ):
        print("current", flush=True)
        return
    if not arguments.force:
        refuse_jetpack(arguments.engine)
        _refuse_room(arguments)
    print("wanted", flush=True)


def missing(arguments):
    """Print the files of SHA256SUMS that the upload lacks, or has otherwise, each ended by a zero byte."""
    for name, digest in read_sums(arguments.upload, arguments.upload.name):
        if not holds(arguments.upload / name, digest):
            sys.stdout.write(name + "\0")


def install(arguments):
    """Make an upload the current release, or leave the former one current and say why."""
    with locked():
        _settle()
        release = RELEASES / arguments.id
        if not is_whole(release):
            _take(arguments.upload, release)
        say(f"{arguments.id}: whole")
        python = _venv(release)
        _engine(release, python, arguments.engine)
        _run("edge check", [python, "-m", "edge", "check", "bundle", "--engine", arguments.engine], release)
        sync_disk()  # engines, before anything is called by this release's name
        former = current_release()
        _switch_and_watch(arguments.id, former, arguments.engine, arguments.watch)
        prune()
        shutil.rmtree(arguments.upload, ignore_errors=True)
        say(
            f"{arguments.id} is current" + (f", {former} is kept: scripts/deploy HOST --rollback goes back to it" if former not in (None, arguments.id) else "")
        )


def rollback(arguments):
    """Make the release current that was current before."""
    with locked():
        _settle()
        current = current_release()
        former = next((release.name for release in proved_releases() if release.name != current and is_whole(release)), None)
        if former is None:
            raise Refused("wanted a former release to go back to, found none: deploy one")
        _switch_and_watch(former, current, record_of(former).get("engine", "unknown"), arguments.watch)
        say(f"{former} is current, {current} is kept")


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
    release, upload = (bytes_in(folder) for folder in (RELEASES / arguments.id, arguments.upload))  # of a deploy that was cut short
    for folder, wanted in ((place, arguments.bytes - release + (ROOM_MIB << 20)), (Path.home(), arguments.bytes - upload)):
        free = shutil.disk_usage(str(folder)).free
        if free < wanted:
            raise Refused(f"wanted {wanted >> 20} MiB of disk for a release in {folder}, found {free >> 20}: free some")
    available = next(int(line.split()[1]) >> 10 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    if arguments.engine != "onnxruntime" and available < BUILD_MIB:
        raise Refused(f"wanted {BUILD_MIB} MiB of memory to build engines in, found {available}: sudo systemctl isolate multi-user.target ends the desktop")


def _take(upload, release):
    part, old = (release.with_name(f"{release.name}.{suffix}") for suffix in ("part", "old"))
    shutil.rmtree(str(part), ignore_errors=True)
    try:
        for name in ["SHA256SUMS", *(name for name, _ in read_sums(upload, release.name))]:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(upload / name), str(part / name))
        verify(part, release.name)  # and not the upload, which may change meanwhile
        (part / "edge/models").symlink_to("../bundle")  # the default of every command
        sync_disk()
        shutil.rmtree(str(old), ignore_errors=True)
        if release.exists():
            release.rename(old)
        part.rename(release)
        sync_folder(RELEASES)
        shutil.rmtree(str(old), ignore_errors=True)
    except (OSError, Refused):
        shutil.rmtree(str(part), ignore_errors=True)
        raise


def _venv(release):
    python = release / "venv/bin/python"
    if not (release / "venv/made").exists():
        wheels = sorted((release / "wheels").glob("*.whl"))
        made = [shutil.which("python3"), "-m", "venv", "--clear", "--system-site-packages", *([] if wheels else ["--without-pip"]), "venv"]
        _run("the virtual environment (apt install python3-venv)", made, release)
        if wheels:
            _run("the wheels", [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *wheels], release)
        sync_disk()  # before what tells that it is whole
        replace_file(release / "venv/made", "")
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
    environment = {"PATH": os.environ["PATH"], "HOME": "/root", "LANG": "C.UTF-8", MARK: LOCK.read_text()}
    environment.update(dict.fromkeys(("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE"), "1"))
    with subprocess.Popen(  # noqa: S603
        [str(part) for part in command],
        cwd=str(folder),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
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


def _switch_and_watch(release, former, engine, seconds):
    """Make a release current, watch its service and record that it ran; on any failure the former one is current again."""
    replace_file(SWITCHING, json.dumps({"from": former, "to": release}))
    try:
        _link(release)
        if not _has_unit():
            say(f"no {UNIT} here, so none is restarted: python -m edge service install --source URI --apply, in {CURRENT}")
        else:
            _restart()
            _watch(seconds)
        bundle = read_state(RELEASES / release / "bundle/manifest.json", {}).get("name", "unknown")
        count = 1 + max((order_of(proved.name)[0] for proved in proved_releases()), default=0)
        replace_file(RELEASES / release / PROVED, json.dumps({"id": release, "bundle": bundle, "engine": engine, "at": now(), "count": count}))
    except BaseException:
        _take_back(former)
        raise
    remove_file(SWITCHING)


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
    """Take back a switch that was cut short; where its record is damaged, to the release that ran last."""
    if SWITCHING.exists():
        cut = read_state(SWITCHING, {})
        former = cut.get("from", "unknown")
        if former not in (None, *(release.name for release in RELEASES.iterdir())):
            former = next((release.name for release in proved_releases() if is_whole(release)), None)
        say(f"the switch to {cut.get('to', 'an unknown release')} was cut short, {former or 'nothing'} is current again")
        _take_back(former)


def _take_back(former):
    if former is None:
        CURRENT.unlink(missing_ok=True)
        sync_folder(HOME)
    else:
        _link(former)
    if _has_unit():
        subprocess.run(["systemctl", "restart" if former else "stop", UNIT], capture_output=True, check=False)  # noqa: S603, S607
    remove_file(SWITCHING)


def _link(release):
    beside = CURRENT.with_name("current.new")
    beside.unlink(missing_ok=True)
    beside.symlink_to(f"releases/{release}")
    beside.replace(CURRENT)
    sync_folder(HOME)


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
            print(plain(f"scripts/deploy: on the board: {failure}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
