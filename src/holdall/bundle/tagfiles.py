"""The tag files of a bag: what is said about the payload, for people and for programs."""

from __future__ import annotations

from datetime import UTC, datetime

from holdall.bundle import layout
from holdall.bundle.bag import BAGIT_TXT, bag_info, one_line
from holdall.bundle.layout import Capture, Source

__all__ = ["closing_info", "described", "opening_files"]

_README = """\
This folder is a bag (BagIt, RFC 8493) with the assistants, agents, vector stores and files of a project
with an OpenAI-compatible API, as they were when it was captured. No program of ours is needed to
read it:

  data/assistants/ID.json              an assistant, exactly as the API gave it
  data/agents/ID.json                  a reusable agent, likewise
  data/vector_stores/ID.json           a vector store, likewise
  data/vector_stores/ID.files.jsonl    the files of that store, one JSON object a line
  data/files/ID/NAME                   the bytes of a file; its true name stands in files.jsonl
  data/text/STORE/ID.json              the text that the API parsed out of a file, where it refused the bytes
  data/files.jsonl                     the file objects, one a line
  data/ledger.jsonl                    what became of each file: how it was got, or why it is missing

To open and prove the bundle {name} with standard tools:

  tar --zstd -xf {name}      (or: zstd -dc {name} | tar -x)
  cd {bag}
  sha256sum -c manifest-sha256.txt
  sha256sum -c tagmanifest-sha256.txt
  bagit.py --validate .

FORMAT.md is the complete specification of the file. With holdall installed:

  holdall inspect {name}
  holdall verify {name}
  holdall extract {name} --to FOLDER
  holdall import {name}
"""


def opening_files(name: str, bag: str) -> list[tuple[str, bytes]]:
    """The files that open a bundle of file name ``name``: how to read it, and the specification."""
    readme = _README.format(name=name, bag=bag).encode()
    return [
        (layout.BAGIT, BAGIT_TXT),
        (layout.README, readme),
        (layout.SPECIFICATION, layout.specification()),
    ]


def closing_info(capture: Capture, *, ended: int, size: int, entries: int) -> bytes:
    """``bag-info.txt`` for a payload of ``entries`` files and ``size`` bytes."""
    agent, date, *source = described(capture.tool, capture.source, ended)
    return bag_info(
        [
            agent,
            date,
            ("External-Description", f"Assistants, vector stores and files of {capture.source.base_url}"),
            *((label, value) for label, value in source if value),
            ("Payload-Oxum", f"{size}.{entries}"),
        ]
    )


def described(tool: str, source: Source, ended: int) -> list[tuple[str, str]]:
    """The fields of ``bag-info.txt`` that say what ``holdall.json`` says too; what isn't known is empty."""
    known = [("Organization", source.organization), ("Project", source.project), ("Label", source.label)]
    date = datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d")
    fields = [("Bag-Software-Agent", tool), ("Bagging-Date", date)]
    fields += [(f"Holdall-Source-{label}", value or "") for label, value in known]
    return [(label, one_line(value)) for label, value in fields]
