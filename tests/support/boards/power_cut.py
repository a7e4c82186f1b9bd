"""A disk that loses what was not synced: what a command asked of it, told by strace, and how it may look after a power cut at each point.

Run in a mount namespace of its own with a small disk at /opt, it deploys there with the board's own code and cuts the power everywhere:

    python tests/support/boards/power_cut.py FOLDER first|second|rollback      writes FOLDER/told.json: {"states": N, "faults": [...]}

The virtual environment, the engines and the check are a stand-in's, which does nothing: what is cut short is the board's own bookkeeping.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BOARD = Path(__file__).resolve().parents[3] / "scripts/board"
HOME = Path("/opt/signwing")
CALLS = (
    "openat,open,creat,write,sendfile,copy_file_range,ftruncate,rename,renameat,renameat2,"
    "unlink,unlinkat,rmdir,mkdir,mkdirat,symlink,symlinkat,fsync,syncfs,sync"
)
PYTHON = "#!/bin/sh\n"
"""What stands in for the Python of a virtual environment: it does nothing, well."""
MAKER = """#!/bin/sh
[ "$2" = venv ] || exit 0
rm -rf "$PWD/venv"
mkdir "$PWD/venv" "$PWD/venv/bin"
echo '#!/bin/sh' > "$PWD/venv/bin/python"
chmod +x "$PWD/venv/bin/python"
"""


@dataclass
class Node:
    """A file, a link or a folder: as it is, and as the disk surely has it."""

    kind: str
    now: bytes = b""
    kept: bytes = b""
    names: dict[str, Node] = field(default_factory=dict)
    kept_names: dict[str, Node] = field(default_factory=dict)
    latest: tuple[str, ...] = ()

    def sync(self) -> None:
        self.kept, self.kept_names, self.latest = self.now, dict(self.names), ()

    def put(self, name: str, node: Node) -> None:
        self.names[name], self.latest = node, (name,)

    def pop(self, name: str) -> Node:
        self.latest = (name,)
        return self.names.pop(name)

    def sync_all(self) -> None:
        self.sync()
        for node in self.names.values():
            node.sync_all()


def read_tree(place: Path) -> Node:
    """What lies in a place, all of it on the disk."""
    if place.is_symlink():
        node = Node("link", os.fsencode(place.readlink()))
    elif place.is_dir():
        node = Node("folder", names={path.name: read_tree(path) for path in place.iterdir()})
    else:
        node = Node("file", place.read_bytes())
    node.sync()
    return node


class Disk:
    """What stands below /opt/signwing while a command's calls are replayed."""

    def __init__(self, root: Node) -> None:
        self.root = Node("folder", names={HOME.name: root})
        self.root.sync()

    def at(self, place: Path) -> Node | None:
        node: Node | None = self.root
        for part in place.relative_to(HOME.parent).parts:
            node = node.names.get(part) if node else None
        return node

    def replay(self, call: str, places: list[Path], text: bytes, flags: str) -> None:
        """One call that succeeded; `places` are the paths and open files that it named, in their order."""
        ours = [place for place in places if place.is_relative_to(HOME)]
        if call in ("syncfs", "sync"):
            self.root.sync_all()
        elif not ours:
            return
        elif call in ("open", "openat", "creat"):
            folder = self.at(ours[-1].parent)
            if "O_CREAT" in flags and folder and ours[-1].name not in folder.names:
                folder.put(ours[-1].name, Node("file"))
            if "O_TRUNC" in flags and (node := self.at(ours[-1])):
                node.now = b""
        elif call == "write" and (node := self.at(ours[0])):
            node.now += text
        elif call in ("sendfile", "copy_file_range") and (node := self.at(ours[0])):
            node.now = next(place for place in places if place != ours[0]).read_bytes()
        elif call == "ftruncate" and (node := self.at(ours[0])):
            node.now = b""
        elif call.startswith("rename"):
            old, new = self.at(ours[0].parent), self.at(ours[-1].parent)
            assert old
            assert new
            new.put(ours[-1].name, old.pop(ours[0].name))
            new.latest = tuple({ours[0].name, ours[-1].name}) if new is old else new.latest
        elif call.startswith(("unlink", "rmdir")) and (folder := self.at(ours[-1].parent)):
            folder.pop(ours[-1].name)
        elif call.startswith(("mkdir", "symlink")) and (folder := self.at(ours[-1].parent)):
            folder.put(ours[-1].name, Node("folder") if call.startswith("mkdir") else Node("link", text, text))
        elif call == "fsync" and (node := self.at(ours[0])):
            node.sync()

    def states(self) -> Iterator[tuple[str, Node]]:
        """How it may be found after a cut: all of it; no data that was not synced; of the names too only the latest in each folder, or none."""
        home = self.root.names[HOME.name]
        yield "all", _seen(home, "all", kept=False)
        for names in ("all", "latest", "none"):
            yield f"synced data, {names} of the other names", _seen(home, names, kept=True)


def _seen(node: Node, others: str, *, kept: bool) -> Node:
    """A tree after a cut; `others`: which names are there that were not synced."""
    names = dict(node.names if others == "all" else node.kept_names)
    for name in node.latest if others == "latest" else ():
        names.pop(name, None)
        names.update({name: node.names[name]} if name in node.names else {})
    return Node(node.kind, node.kept if kept else node.now, names={name: _seen(each, others, kept=kept) for name, each in names.items()})


def write_tree(node: Node, place: Path) -> None:
    if node.kind == "link":
        place.symlink_to(os.fsdecode(node.now))
    elif node.kind == "file":
        place.write_bytes(node.now)
        place.chmod(0o755)
    else:
        place.mkdir()
        for name, each in node.names.items():
            write_tree(each, place / name)


def digest_of(node: Node) -> str:
    told = [node.kind.encode(), node.now, *(f"{name}\0{digest_of(each)}".encode() for name, each in sorted(node.names.items()))]
    return hashlib.sha256(b"\0".join(told)).hexdigest()


def calls_of(trace: Path) -> Iterator[tuple[str, list[Path], bytes, str]]:
    """The calls of a trace that succeeded: name, places, text, all arguments."""
    begun: dict[str, str] = {}
    for line in trace.read_text(encoding="latin-1").splitlines():
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if found := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = begun.pop(pid) + found[1]
        found = re.fullmatch(r"(\w+)\((.*)\)\s+= (\d+).*", rest)
        if not found:
            continue
        call, said = found[1], found[2]
        places, text = [], b""
        for quoted, opened in re.findall(r'"((?:[^"\\]|\\.)*)"|\b(?:AT_FDCWD|\d+)<([^>]*)>', said):
            data = codecs.escape_decode(quoted.encode("latin-1"))[0] if quoted else b""
            if call == "write" or (call.startswith("symlink") and not text and quoted):
                text = text or data
            if call == "write" and quoted:
                continue
            if opened:
                places.append(Path(opened))
            elif quoted.startswith("/"):
                places.append(Path(os.fsdecode(data)))
            elif places and not call.startswith("symlink"):
                places[-1] = places[-1] / os.fsdecode(data)  # beside an open folder
        yield call, places, text, said


def board(folder: Path, *argv: str, trace: Path | None = None) -> str:
    """Run the board's code; returns what it told, with a traceback's last line where it ends in one."""
    watched = ["strace", "-f", "-y", "-s", "100000", "-e", f"trace={CALLS}", "-o", str(trace)] if trace else []
    command = [*watched, sys.executable, str(BOARD / "board.py"), *argv]
    done = subprocess.run(command, env={"PATH": f"{folder / 'bin'}:/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def forked(*argv: str) -> str:
    """The same in a fork of this process, which has loaded it: there are many; "" if it went well."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.argv[1:] = argv
        try:
            from board import main

            code = main()
        except BaseException:
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    return "" if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 else f"{argv[0]}: {text}"


def make_upload(folder: Path, name: str) -> str:
    """A release of few files, as the desk lays one out; returns its id."""
    place = folder / name
    for file, text in {"edge/__main__.py": "", "bundle/manifest.json": json.dumps({"name": name}), "bundle/model.onnx": name * 9}.items():
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text(text)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(place)}\n" for path in files)
    (place / "SHA256SUMS").write_text(sums)
    release = hashlib.sha256(sums.encode()).hexdigest()[:12]
    place.rename(folder / release)
    return release


def faults_of(state: Node, releases: list[str], former: str | None, again: list[str]) -> Iterator[str]:
    """What is wrong after a cut, before and after the command is called again."""
    shutil.rmtree(HOME)
    write_tree(state, HOME)
    current = HOME / "current"
    if current.is_symlink():
        if not (current / "bundle/model.onnx").is_file() or (current / "venv/bin/python").read_text() != PYTHON:
            yield f"what is current is not whole: {current.readlink()}"
    elif former:
        yield "nothing is current"
    if current.is_symlink() and current.readlink().name != former and not ((current / "release.json").exists() or (HOME / "switching.json").exists()):
        yield f"{current.readlink()} is current, and nobody knows that it was not proved"
    for place in [HOME / "switching.json", *HOME.glob("releases/*/release.json")]:
        try:
            json.loads(place.read_text())
        except FileNotFoundError:
            pass
        except ValueError:
            yield f"{place} is damaged"
    yield forked("status")
    yield forked(*again)
    wanted = releases[0] if again[0] == "rollback" else releases[-1]
    if again[0] == "install" and (current.readlink().name != wanted or (current / "venv/bin/python").read_text() != PYTHON):
        yield f"current is {current.readlink()}, not {wanted}"
    if (HOME / "switching.json").exists():
        yield "a switch is still under way"
    if former and again[0] == "install":
        yield forked("rollback")


def main() -> None:
    """Trace one deploy, then cut the power at each of its writes."""
    folder, what = Path(sys.argv[1]), sys.argv[2]
    (folder / "bin").mkdir()
    (folder / "bin/python3").write_text(MAKER)
    (folder / "bin/python3").chmod(0o755)
    sys.path.insert(0, str(BOARD))
    releases = [make_upload(folder, name) for name in ("first", "second")]
    installs = [["install", "--id", release, "--upload", str(folder / "upload" / release), "--engine", "onnxruntime"] for release in releases]

    def bring() -> None:
        shutil.rmtree(folder / "upload", ignore_errors=True)
        for release in releases:
            shutil.copytree(folder / release, folder / "upload" / release)

    bring()
    HOME.mkdir()
    before = {"first": [], "second": installs[:1], "rollback": installs}[what]
    for command in before:
        board(folder, *command)
    again = {"first": installs[0], "second": installs[1], "rollback": ["rollback"]}[what]
    if what == "first":
        releases = releases[:1]
    former = (HOME / "current").readlink().name if before else None
    disk = Disk(read_tree(HOME))
    bring()
    board(folder, *again, trace=folder / "trace")
    bring()
    os.environ["PATH"] = f"{folder / 'bin'}:/usr/bin:/bin"
    seen, faults = set(), []
    for number, (call, places, text, flags) in enumerate(calls_of(folder / "trace")):
        disk.replay(call, places, text, flags)
        for kind, state in disk.states():
            if (digest := digest_of(state)) not in seen:
                seen.add(digest)
                faults += [f"{number} {call} {places[-1:]}, {kind}: {fault}" for fault in faults_of(state, releases, former, again) if fault]
                bring()
    *_, (_, kept) = disk.states()
    current = kept.names.get("current", Node("none")).now.decode()
    if "switching.json" in kept.names or Path(current).name != (releases[0] if what == "rollback" else releases[-1]):
        faults.append(f"it ended, and yet the disk may say {sorted(kept.names)}, current {current}")
    (folder / "told.json").write_text(json.dumps({"states": len(seen), "faults": faults}))


if __name__ == "__main__":
    main()
