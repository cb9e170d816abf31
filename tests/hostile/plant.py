"""Ten defects, planted one after the other into a copy of the package: each must be found by the tests of this folder.

    .venv/bin/python tests/hostile/plant.py [NUMBER…]

Takes some minutes. Exit code 1 where a defect went unseen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What is broken, in which module, the text that is replaced, and by what.
DEFECTS = [
    (
        "the limit on a frame's content and window is gone",
        "bundle/seekable.py",
        "if header.content_size > MAX_FRAME or header.window_size > MAX_FRAME:",
        "if False:",
    ),
    (
        "the seal is not compared",
        "bundle/verification.py",
        "if found != seal:",
        "if False:",
    ),
    (
        "the seek table is taken from the file and not rebuilt from the frames",
        "bundle/verification.py",
        "table, end = encode_table(frames), frames.length",
        "end = frames.length\n    file.seek(end + SEAL_SIZE)\n    table = file.read()",
    ),
    (
        "a name that is there twice passes",
        "bundle/verification.py",
        "if name == previous:",
        "if False:",
    ),
    (
        "a path may have .. in it",
        "safe_files.py",
        "    return len(name) <= MAX_NAME and safe_name(name) == name",
        '    return name == ".." or (len(name) <= MAX_NAME and safe_name(name) == name)',
    ),
    (
        "a member's sha256 is not held against the index",
        "bundle/verification.py",
        "        elif sha256 != entry.sha256:",
        "        elif False:",
    ),
    (
        "bytes behind the end pass",
        "bundle/verification.py",
        "if len(after) > len(table):",
        "if False:",
    ),
    (
        "the manifest's hashes are not held against the index",
        "bundle/verification.py",
        'if entry is None or line is None or manifest_line(entry.sha256, entry.path) != line + b"\\n":',
        "if entry is None or line is None:",
    ),
    (
        "a line of the index is written wherever it says",
        "bundle/bag.py",
        'if not entry.path.startswith("data/") or not is_safe(entry.path):',
        "if False:",
    ),
    (
        "a hard link passes for a file",
        "bundle/bag.py",
        "    if header(name, found.size, found.mtime) != bytes(data[:length]):",
        "    plain = bytearray(data[:length])\n"
        "    if block[156:157] == b'1':\n"
        "        plain[length - 356 : length - 355] = b'0'\n"
        "        plain[length - 355 : length - 255] = bytes(100)\n"
        "        honest = header(name, found.size, found.mtime)\n"
        "        plain[length - 364 : length - 356] = honest[length - 364 : length - 356]\n"
        "    if header(name, found.size, found.mtime) != bytes(plain):",
    ),
]


def planted(number: int) -> bool:
    """Plant one defect and run the tests against it; True where they found it."""
    title, module, old, new = DEFECTS[number]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "holdall")
        shutil.copytree(ROOT / "src" / "holdall", package)
        source = (package / module).read_text(encoding="utf-8")
        assert old in source, f"{number + 1}: {module} has changed, the defect has to be planted anew"
        (package / module).write_text(source.replace(old, new), encoding="utf-8")
        # Where the package is looked for first. An editable install stands behind it.
        environ = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        check = "import holdall, sys; sys.exit(not holdall.__file__.startswith(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", check, folder], env=environ, check=True)
        tests = [str(ROOT / "tests" / "hostile" / name) for name in ("test_lies.py", "test_structure.py")]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "0",
            "-x",
            "-q",
            "--no-header",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow",  # all lies, not one in eight
            *tests,
        ]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    print(f"{number + 1:2} {'found ' if failed else 'UNSEEN'} {title}", flush=True)
    print(f"           {failed[0][:150] if failed else done.stdout[-500:]}", flush=True)
    return bool(failed)


if __name__ == "__main__":
    chosen = [int(word) - 1 for word in sys.argv[1:]] or range(len(DEFECTS))
    seen = [planted(number) for number in chosen]
    sys.exit(0 if all(seen) else 1)
