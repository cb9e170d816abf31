"""Makes and reads projects over the wire with the official SDK: the hand of the tests, not that of the program."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import openai

BETA = {"OpenAI-Beta": "assistants=v2"}
AGENTS = {"OpenAI-Beta": "agents=v1"}
KEY = "sk-source-0001"
"""The key of the project that tests export from."""


def skill_zip(name: str, files: Mapping[str, bytes] | None = None, *, description: str = "What it is for.") -> bytes:
    """The zip of a skill: a folder of its name with its SKILL.md and more files. The same zip every time."""
    manifest = f"---\nname: {name}\ndescription: {description}\n---\n\nDo it.\n".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {"SKILL.md": manifest, **(files or {})}.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{path}", (2026, 1, 2, 3, 4, 6)), content)
    return made.getvalue()


class Hand:
    """One project of a server, used from a test."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.sdk = openai.OpenAI(api_key=key, base_url=url, max_retries=0)

    def close(self) -> None:
        self.sdk.close()

    def __enter__(self) -> Hand:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def get(self, path: str, **params: Any) -> Any:
        return self.sdk.get(path, cast_to=object, options={"headers": BETA, "params": params})

    def post(self, path: str, **body: Any) -> Any:
        return self.sdk.post(path, cast_to=object, body=body, options={"headers": BETA})

    def delete(self, path: str) -> Any:
        return self.sdk.delete(path, cast_to=object, options={"headers": BETA})

    def everything(self, path: str, **params: Any) -> list[Any]:
        """A whole list, oldest first."""
        found: list[Any] = []
        while True:
            after = {"after": found[-1]["id"]} if found else {}
            page = self.get(path, limit=100, order="asc", **params, **after)
            found += page["data"]
            if not page["has_more"]:
                return found

    def file(self, name: str, content: bytes, purpose: str = "assistants") -> str:
        return self.sdk.files.create(file=(name, io.BytesIO(content)), purpose=purpose).id  # type: ignore[arg-type]

    def store(
        self,
        name: str,
        files: Sequence[str] = (),
        members: Mapping[str, Mapping[str, Any]] | None = None,
        **fields: Any,
    ) -> str:
        """A store with files, each with what ``members`` says of it (attributes, chunking_strategy)."""
        store_id: str = self.post("/vector_stores", name=name, **fields)["id"]
        if files:
            listed = [{"file_id": file, **(members or {}).get(file, {})} for file in files]
            self.post(f"/vector_stores/{store_id}/file_batches", files=listed)
        return store_id

    def assistant(
        self, name: str | None, *, stores: Sequence[str] = (), files: Sequence[str] = (), **fields: Any
    ) -> str:
        resources: dict[str, Any] = {}
        tools = list(fields.pop("tools", []))
        if stores:
            resources["file_search"] = {"vector_store_ids": list(stores)}
            tools.append({"type": "file_search"})
        if files:
            resources["code_interpreter"] = {"file_ids": list(files)}
            tools.append({"type": "code_interpreter"})
        body = {"model": "gpt-4o", "name": name, "tools": tools, "tool_resources": resources, **fields}
        return str(self.post("/assistants", **body)["id"])

    def skill(self, name: str, *versions: Mapping[str, bytes], default: int = 1, **said: str) -> str:
        """A skill with so many versions (one without files besides SKILL.md, where none is given): its id.

        ``said`` may have a ``description``.
        """
        first, *others = versions or ({},)
        skill_id = self.sdk.skills.create(files=("skill.zip", skill_zip(name, first, **said))).id
        for files in others:
            self.skill_version(skill_id, name, files, **said)
        if default != 1:
            self.sdk.skills.update(skill_id, default_version=str(default))
        return skill_id

    def skill_version(
        self, skill_id: str, name: str, files: Mapping[str, bytes] | None = None, *, default: bool = False, **said: str
    ) -> str:
        """One more version of a skill: its number."""
        packed = skill_zip(name, files, **said)
        made = self.sdk.skills.versions.create(skill_id, files=("skill.zip", packed), default=default)
        return made.version

    def without_versions(self, skill_id: str, *numbers: int) -> None:
        """Delete versions of a skill, none of them the default: gaps remain, because no number is given twice."""
        for number in numbers:
            self.sdk.skills.versions.delete(str(number), skill_id=skill_id)

    def template(
        self,
        name: str | None = None,
        *,
        skills: Sequence[str | Mapping[str, Any]] = (),
        files: Sequence[str | Mapping[str, Any]] = (),
        **fields: Any,
    ) -> str:
        """An environment template: its id. Skills and files that are only ids are referred to."""
        referred: Any = {
            "skills": [
                {"type": "skill_reference", "skill_id": each} if isinstance(each, str) else each for each in skills
            ],
            "files": [
                {"type": "file_id", "file_id": each, "path": f"/workspace/{each}"} if isinstance(each, str) else each
                for each in files
            ],
        }
        # The SDK has a method for this, but takes seconds to import what it needs for it.
        place, options = "/agents/environments/templates", {"headers": AGENTS}
        body = {"name": name, **referred, **fields}
        made: Any = self.sdk.post(place, cast_to=object, body=body, options=options)  # type: ignore[arg-type]
        return str(made["id"])

    def counts(self) -> dict[str, int]:
        """How many objects the project holds, by kind."""
        return {
            "assistants": len(self.everything("/assistants")),
            "vector_stores": len(self.everything("/vector_stores")),
            "files": len(self.everything("/files")),
        }

    def snapshot(self) -> dict[str, Any]:
        """Everything in the project, by kind and id.

        Left out is what the API itself moves: when a store was last used, and so when it expires.
        """
        moved = ("last_active_at", "expires_at")
        stores = [
            {key: value for key, value in store.items() if key not in moved}
            for store in self.everything("/vector_stores")
        ]
        return {
            "assistants": {one["id"]: one for one in self.everything("/assistants")},
            "vector_stores": {one["id"]: one for one in stores},
            "memberships": {
                (one["id"], member["id"]): member
                for one in stores
                for member in self.everything(f"/vector_stores/{one['id']}/files")
            },
            "files": {one["id"]: one for one in self.everything("/files")},
        }
