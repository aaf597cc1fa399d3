"""The command line: what stands in `lineage.commands`, put together, and how errors are said."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from lineage import compose
from lineage.commands import (
    advise,
    calibrate,
    check,
    compact,
    compare,
    export,
    gate,
    ls,
    migrate,
    plan,
    prompts,
    provenance,
    run,
    show,
    simulate,
    submit,
    suites,
    sweeps,
    train,
    trajectory,
    versions,
)
from lineage.commands.application import complete
from lineage.commands.runs import add_run, find_run, url_of_run
from lineage.core.config import RunConfig
from lineage.core.console import fit_streams
from lineage.core.errors import LineageError
from lineage.core.fields import checked
from lineage.core.files import behind
from lineage.core.signals import INTERRUPTED, Stoppable
from lineage.core.text import one_line
from lineage.log.sweep import SWEEP, is_sweep, read_sweep

EXAMPLES = """\
examples:
  lineage run                                  the default run: a real model in real vLLM
  lineage run engine=surrogate                 the same experiment in seconds, no model
  lineage run suite=warehouse                  on other work: see lineage suites
  lineage run experiment=tiny suite.drift=0.1  any key of conf/ can be overridden
  lineage run -m suite.drift=0,0.1,0.2 engine=surrogate
  lineage resume latest                        finish a run that was stopped
  lineage resume latest --changed              the same, with prompts that were edited since
  lineage ls                                   runs and trainings, newest first
  lineage show latest 2 w003                   an episode of generation 2, step by step
  lineage report runs/latest                   its table, metrics, figure and report again
RUN is a folder, or its name below run.root: latest is runs/latest
"""
COMPOSING = ("run", "train", "plan", "submit")
"""The commands whose words are overrides, and flags of Hydra."""
COMPLETION = ("-sc", "--shell-completion")
"""What a shell calls to complete a line: the script that Hydra installs knows no subcommands."""
UNWRITABLE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EFBIG: "a file would be larger than this process or file system allows: see ulimit -f",
    errno.EROFS: "the file system is read-only: choose another run.root and run.cache",
    errno.EACCES: "no permission: choose another run.root and run.cache",
    errno.EPERM: "no permission: choose another run.root and run.cache",
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 an error for the user, 2 usage, 130 stopped."""
    fit_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] and given[0] in COMPLETION:
        sys.exit(_guarded(argparse.Namespace(command=partial(_complete, given[1:]))))
    parser = _parser()
    options, more = parser.parse_known_args(given)
    # Overrides may stand after flags; what else is over is a flag that Hydra does not have.
    if more and not hasattr(options, "more"):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    options.more = more
    sys.exit(_guarded(options))


@cache
def _parser() -> argparse.ArgumentParser:
    # A program or a notebook may ask for many commands, and parsing changes nothing here.
    parser = argparse.ArgumentParser(
        prog="lineage",
        description="A laboratory for model-generation succession: what should happen to a "
        "model's memory when the model is upgraded, and what is it worth?",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action=versions.ShowVersion, help="show what code this is, and exit"
    )
    parser.set_defaults(command=lambda options, console: parser.print_help())
    commands = parser.add_subparsers(metavar="COMMAND")
    run.register(commands)
    resume = commands.add_parser("resume", help="finish a run or a training that was stopped")
    add_run(resume)
    resume.add_argument(
        "--changed",
        action="store_true",
        help="go on though the prompts or the version of lineage have changed since",
    )
    resume.add_argument(
        "--trust", action="store_true", help="import the suite that RUN names, of whatever module"
    )
    resume.add_argument(
        "--config-dir", type=Path, metavar="DIR", help="import the suites of this conf folder"
    )
    resume.add_argument(
        "--most-usd", type=float, metavar="USD", help="a new run.most_usd, for all of the run"
    )
    resume.set_defaults(command=_resume)
    report = commands.add_parser("report", help="write a report again and show its table")
    add_run(report)
    report.set_defaults(command=_report)
    ls.register(commands)
    show.register(commands)
    compare.register(commands)
    gate.register(commands)
    calibrate.register(commands)
    simulate.register(commands)
    trajectory.register(commands)
    compact.register(commands)
    provenance.register(commands, run.execute)
    export.register(commands)
    check.register(commands)
    migrate.register(commands)
    advise.register(commands)
    prompts.register(commands)
    suites.register(commands)
    train.register(commands)
    plan.register(commands)
    submit.register(commands)
    versions.register(commands)
    return parser


def _guarded(options: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace, Console], None] = options.command
    console = Console()
    try:
        with Stoppable():
            command(options, console)
    except LineageError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("stopped" + _then(options), INTERRUPTED)
    except Exception as error:
        if (line := _of_the_disk(error, options)) is None:
            raise
        return _fail(line + _then(options))
    return 0


def _of_the_disk(error: Exception, options: argparse.Namespace) -> str | None:
    """Return in a line what the disk refuses or holds damaged; None where it is something else."""
    if isinstance(error, OSError):
        name = error.filename2 or error.filename
        if error.errno in UNWRITABLE:
            return UNWRITABLE[error.errno] + (f" ({name})" if name else "")
        if name is not None:
            return f"{name}: {error.strerror or error}: restore it, or move it away"
    # Loaded only where a file was read with them.
    for module, kind in (("duckdb", "Error"), ("pyarrow", "ArrowException")):
        known = getattr(sys.modules.get(module), kind, None)
        stopped = type(error).__name__ == "InterruptException"
        if known is not None and isinstance(error, known) and not stopped:
            said = " ".join(str(error).split())
            where = _asked_of(options)
            return f"a file of {where} cannot be read: {said}: restore it, or move it away"
    return None


def _asked_of(options: argparse.Namespace) -> str:
    """Return in words which run the command reads; of `compare` it is either."""
    given = (getattr(options, name, None) for name in ("run", "a", "folder", "root"))
    first = next((str(one) for one in given if isinstance(one, Path)), "the run")
    others = getattr(options, "b", None)
    return " or ".join((first, *others)) if isinstance(others, list) else first


def _then(options: argparse.Namespace) -> str:
    """Return how to go on with the run that was stopped, where one was begun."""
    if said := getattr(options, "then", ""):
        return str(said)
    folder: Path | None = getattr(options, "folder", None)
    if folder is None or not any((folder / name).exists() for name in ("config.yaml", SWEEP)):
        return ""
    return f"; what was finished is kept, go on with: lineage resume {folder}"


def _fail(text: str, code: int = 1) -> int:
    print(f"lineage: {one_line(text)}", file=sys.stderr)
    return code


def _complete(arguments: Sequence[str], options: argparse.Namespace, console: Console) -> None:
    complete(arguments, COMPOSING)


def _resume(options: argparse.Namespace, console: Console) -> None:
    folder = behind(find_run(options.run, _worked_on))
    from lineage.models.shelves import relocated
    from lineage.runs.folder import at_home, locked

    if is_sweep(folder):
        from lineage.commands.sweeping import resume_sweep

        if options.most_usd is not None:
            raise LineageError(
                f"--most-usd is of one run: give its point, as in lineage resume {folder / '000'}"
            )
        kind = train.kind() if read_sweep(folder).kind == "training" else run.kind()
        options.folder = folder
        resume_sweep(
            folder, kind, console, options.trust, options.config_dir, changed=options.changed
        )
        return
    config = at_home(compose.load_file(folder / "config.yaml"), folder)
    if not options.trust:
        file, remedy = folder / "config.yaml", f"if you trust it: lineage resume {folder} --trust"
        known = compose.own_suites(options.config_dir) if options.config_dir else ()
        compose.check_suite(config, file, remedy, known)
        compose.check_extra(config, file, remedy)
        compose.check_endpoints(config, file, remedy, own=options.config_dir)
    config = relocated(config)
    if options.most_usd is not None:
        limited = {**asdict(config.run), "most_usd": options.most_usd}
        config = replace(config, run=checked(RunConfig, limited, "run"))
    if options.changed:
        from lineage.runs.code import accept_changes

        with locked(folder):
            accept_changes(folder)
    if train.is_training(folder):
        options.folder = folder
        train.run_training(config, folder, console)
    else:
        run.execute(options, config, folder, console)


def _worked_on(run: RunConfig, url: str) -> Path:
    """Return the folder in which the run at `url` is gone on with."""
    # Arrow takes a moment to load, which runs in folders need not wait for.
    from lineage.runs.stored import resumed_from

    return resumed_from(run, url)


def _report(options: argparse.Namespace, console: Console) -> None:
    folder, url = find_run(options.run), url_of_run(options.run)
    if url is None:
        _reported(folder, console, str(folder))
        return
    from lineage.runs.stored import reported

    with reported(compose.shipped_run(), folder, url):
        _reported(folder, console, url)


def _reported(folder: Path, console: Console, where: str) -> None:
    """Report on what is in `folder`, which the user knows as `where`."""
    from lineage.report.run_text import show_summary
    from lineage.report.write import write_report
    from lineage.runs.folder import at_home

    if is_sweep(folder):
        sweeps.report_sweep(folder, console, where)
        return
    config = at_home(compose.load_file(folder / "config.yaml"), folder)
    if train.is_training(folder):
        train.report_training(config, folder, console, where)
        return
    summary = write_report(folder, Path(config.run.cache_folder))
    show_summary(summary, console)
    console.print(f"{where}/report.html", highlight=False, markup=False)


if __name__ == "__main__":
    main()
