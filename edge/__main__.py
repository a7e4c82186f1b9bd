"""Name traffic signs in images, videos and the drawn flight.

signwing run demo:// --video out/annotated.mp4 --events out/events.jsonl --json out/summary.json
signwing run FOLDER --events out/events.jsonl
signwing review DIR
signwing map out/events.jsonl --out out/map
signwing classify CROPS... --csv out/names.csv
signwing check
signwing doctor
signwing train | export | bench ...
signwing teach ROOT OUT
signwing compare OLD NEW --data ROOT

`python -m edge` is the same without the last three lines, whose stages have commands of their own.
"""

from __future__ import annotations

# Nothing that takes long: until the signals are heeded, they end the process as the system does.
import os
import sys
from collections.abc import Sequence

from edge.process import signals
from edge.process.descriptors import hold_standard

TYPE_CHECKING = False
if TYPE_CHECKING:  # without `typing`, which takes longer than all else here
    import argparse

SIGNWING = "signwing"
STAGES = {"train": "train", "export": "export", "bench": "benchmarks"}
"""What `signwing` calls the other stages: word to package."""
SHORT = {"compare": "bench", "teach": "train"}
"""Words of a stage that `signwing` takes without its name."""
_RUN = "run"
"""The word whose work SIGTERM ends as it should: a camera's run has no end of its own."""


def _parser(prog: str = "python -m edge") -> argparse.ArgumentParser:
    from edge.commands.words import parser_of

    short = {word: f"{STAGES[stage]} {word}" for word, stage in SHORT.items()}
    return parser_of(prog, {**STAGES, **short} if prog == SIGNWING else {})


def signwing(argv: Sequence[str] | None = None) -> int:
    """Run a command of any stage, as the console command `signwing` does, and return its exit code; without `argv` as `main` does."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in SHORT:
        words.insert(0, SHORT[words[0]])
    stage = STAGES.get(words[0]) if words else None
    if stage is None:
        return main(argv, SIGNWING)
    import importlib

    from edge import cli

    try:
        module = importlib.import_module(f"{stage}.__main__")  # by its name, for a board has no training and no benchmarks
    except ModuleNotFoundError as error:
        if error.name not in (stage, f"{stage}.__main__"):
            raise
        print(f"{SIGNWING}: wanted the folder {stage}/ in {cli.ROOT}, found none: run this in a checkout", file=sys.stderr)
        return cli.EXIT_REFUSED
    code: int = module.main(words[1:], f"{SIGNWING} {words[0]}")
    return code


def main(argv: Sequence[str] | None = None, prog: str = "python -m edge") -> int:
    """Run a command and return its exit code; without `argv` the process is the command's own, and ends here."""
    words = sys.argv[1:] if argv is None else argv
    hold_standard()
    with signals.heeding(prog, 0 if words[:1] == [_RUN] else signals.EXIT_INTERRUPTED):
        try:
            code = _answer(words, prog)
        except KeyboardInterrupt:  # before the command began, or when it was done
            signals.tell("interrupted")
            code = signals.exit_code()
        if argv is None:
            # All is written. Python's own ending would let a signal kill it, and abort where a thread was left behind in a library's call.
            os._exit(code)
    return code


def _answer(words: Sequence[str], prog: str) -> int:
    from edge.outside.picture_size import MOST_PIXELS

    # OpenCV's own words about damaged files would stand between our lines; it reads this as it loads.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))  # of the formats, too, whose headers `edge.outside.picture_size` does not know

    from edge import cli
    from edge.process.streams import DRAIN_S, HURRY_S, standard_streams

    cli.prepare_streams()
    with standard_streams() as outlets:
        try:
            code = cli.main(_parser(prog), words)
        except BrokenPipeError:  # who reads us has gone (as `head` does): nothing is left to say
            return cli.EXIT_REFUSED
        for each in outlets:
            each.flush()
            each.outlet.close(HURRY_S if signals.came() else DRAIN_S)
        if outlets and code == 0 and outlets[0].outlet.patience_s is None and outlets[0].outlet.lost:
            if not outlets[0].outlet.broken:  # or else who asked has gone
                signals.tell(f"wanted to print the answer, the standard output refused: {outlets[0].outlet.fault or 'nobody reads it'}: make room, or read it")
            return cli.EXIT_REFUSED
        return signals.exit_code() if code == cli.EXIT_INTERRUPTED else code


if __name__ == "__main__":
    sys.exit(main())
