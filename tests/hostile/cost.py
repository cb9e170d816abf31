"""What each command costs on one bundle: every one in a process of its own, with its memory and its processor time.

    python -m tests.hostile.cost FOLDER [COMMAND…]

FOLDER has ``bundle.tar.zst``, with which a plain one is compared. Prints a line of JSON for each command. Those that
need a destination are left out where the environment has none (OPENAI_DST_API_KEY, OPENAI_DST_BASE_URL).
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from holdall.cli.console import Console
from holdall.cli.main import run
from tests.hostile.forge import forge

__all__ = ["ALONE", "WITH"]

ALONE = {
    "verify": "verify B",
    "verify --json": "verify B --json",
    "inspect": "inspect B",
    "inspect --all": "inspect B --all --json",
    "list": "list B --json",
    "list --grep": "list B --grep bomb --json",
    "diff": "diff B F/other.tar.zst -v",
    "prune": "prune F/ --keep-last 1 --json",
    "extract": "extract B --to F/out",
    "extract --salvage": "extract B --salvage --to F/saved",
    "unpack": "unpack B F/unpacked",
    "supply": "supply B --originals F/originals -o F/supplied.tar.zst",
}
WITH = {
    "plan": "plan B --output-dir F/plan --json",
    "import": "import B --output-dir F/import --yes",
    "verify --against": "verify B --against dst --output-dir F/import",
}
SECONDS = 120
"""Of processor time, after which a command is ended: it hangs."""
BYTES = 4 << 30
"""Of address space, for the same reason."""


def cost(argv: list[str], folder: Path) -> dict[str, object]:
    """Run in a child: its exit code, MB at the most, processor seconds, and how what it said begins and ends."""
    said = folder / "said"
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        os.chdir(folder)
        code = 99
        try:
            with said.open("w") as err, Path(os.devnull).open("w") as out:
                code = run(argv, Console(stdout=out, stderr=err))
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    text = said.read_text(errors="replace") if said.exists() else ""
    return {
        "code": os.waitstatus_to_exitcode(status),
        "mb": used.ru_maxrss >> 10,
        "cpu": round(used.ru_utime + used.ru_stime, 2),
        "said": text if len(text) < 2000 else text[:1000] + " … " + text[-1000:],
        "length": len(text),
    }


def main(folder: Path, names: list[str]) -> None:
    (folder / "originals").mkdir(exist_ok=True)
    (folder / "originals" / "a.pdf").write_bytes(b"parsed words")
    (folder / "other.tar.zst").write_bytes(forge())
    commands = ALONE | (WITH if "OPENAI_DST_API_KEY" in os.environ else {})
    for name in names or commands:
        argv = [
            word.replace("F/", f"{folder}/").replace("B", str(folder / "bundle.tar.zst")) if word[0] in "FB" else word
            for word in commands[name].split()
        ]
        print(json.dumps({"command": name, **cost(argv, folder)}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
