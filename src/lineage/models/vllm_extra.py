"""Arguments that conf hands to vLLM by their own names, checked by vLLM's own parser.

The check has a process of its own: vLLM takes seconds and a gigabyte to import, sets variables of
the environment, and would find out about the devices of a machine that is not the engine's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from typing import Any, NoReturn

from lineage.core.config_engine import VllmConfig
from lineage.core.errors import LineageError, nearest
from lineage.core.fields import shown
from lineage.models.vllm_arguments import further, key_of

SAID = 200
"""Letters of what vLLM says that an error quotes."""
FUNCTION = re.compile(r"<function (\w+)[^>]*>")
"""How Python shows the function that reads a value."""
CHECK = (sys.executable, "-m", "lineage.models.vllm_extra")


def check(config: VllmConfig, environment: Mapping[str, str]) -> None:
    """Raise LineageError where vLLM does not know an argument of conf, or refuses its value.

    `environment` is that of the process that imports vLLM. Nothing is imported where conf adds
    nothing. Where vLLM is not installed, or cannot be imported, its engine checks as it starts.
    """
    asked = further(config)
    if not asked or find_spec("vllm") is None:
        return
    done = subprocess.run(
        CHECK,
        input=json.dumps(asked),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        # vLLM may have logged before.
        wrong = json.loads(done.stdout.splitlines()[-1])
        if wrong:
            raise LineageError(wrong)


def parsed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return by argument what vLLM makes of the values `asked` for. Imports vLLM.

    Raises LineageError for an argument that it does not know, and a value that it refuses.
    """
    if not asked:
        return {}
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):
        """One that raises where vLLM's would print its usage and exit."""

        def error(self, message: str) -> NoReturn:
            raise ValueError(message)

    parser = AsyncEngineArgs.add_cli_args(Parser(add_help=False))
    # Of the parser's own names those that an engine has, too.
    known = sorted({one.name for one in fields(AsyncEngineArgs)} & {*vars(parser.parse_args([]))})
    found = {}
    for name, value in asked.items():
        if name not in known:
            raise LineageError(f"{key_of(name)}: vLLM has no argument {name!r}{_near(name, known)}")
        try:
            found[name] = getattr(parser.parse_args(_words(name, value)), name)
        except (ValueError, TypeError) as error:
            raise LineageError(
                f"{key_of(name)} is {shown(value)}: vLLM takes no such value ({_reason(error)})"
            ) from error
    return found


def _near(name: str, known: list[str]) -> str:
    return nearest(name, known) or ": see vLLM's EngineArgs"


def _words(name: str, value: Any) -> list[str]:
    """Return the words of a command line that set argument `name` to `value`."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, list):
        return [f"--{flag}", *map(_word, value)]
    return [f"--{flag}={_word(value)}"]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _reason(error: Exception) -> str:
    """Return what argparse says of a value, without the name that stands before it."""
    said = FUNCTION.sub(r"\1", " ".join(str(error).split())).rstrip(".")
    said = said.partition(": ")[2] if said.startswith("argument ") else said
    return said if len(said) <= SAID else f"{said[:SAID]}…"


def main() -> None:
    """Check the arguments on standard input; the last line of the output says what is wrong."""
    wrong = ""
    try:
        parsed(json.load(sys.stdin))
    except LineageError as error:
        wrong = str(error)
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
