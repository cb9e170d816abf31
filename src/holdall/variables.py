"""The environment variables that holdall reads, and suggestions for misspelt ones. Pure."""

from __future__ import annotations

from functools import lru_cache

KEYS_OF = {side: (f"OPENAI_{side}_API_KEY", f"{side}_PROJECT_API_KEY") for side in ("SRC", "DST")}
"""The variables that hold the key of a side."""

KEY_VARIABLES = (*KEYS_OF["SRC"], *KEYS_OF["DST"], "OPENAI_API_KEY")
"""All that hold a key, the one that holdall doesn't read among them."""

VARIABLES = frozenset(
    {
        *(
            f"OPENAI_{side}_{name}"
            for side in ("SRC", "DST")
            for name in ("API_KEY", "BASE_URL", "ORG_ID", "PROJECT_ID", "TOKEN_COMMAND", "INSECURE_HTTP")
        ),
        "OPENAI_SRC_LABEL",
        "SRC_PROJECT_API_KEY",
        "DST_PROJECT_API_KEY",
        "CLONE_IDS",
        "CLONE_MODE",
        "CLONE_NAMES",
        "CLONE_NAME_PREFIX",
        "INCLUDE_CODE_INTERPRETER",
        "INCLUDE_FILE_SEARCH",
        "DRY_RUN",
        "OUTPUT_DIR",
        "HOLDALL_SETTLE",
        "MAX_CONCURRENCY",
        "LOG_LEVEL",
    }
)
"""Every setting, out of the environment or a ``.env`` file."""

# Names near to ours that other programs are known to read.
_OTHERS = {"LOGLEVEL", "LOG_LEVELS", "OUTPUT_DIRS", "HOLDALL_TRACEBACK"} | {
    f"OPENAI_{name}" for name in ("API_KEY", "API_KEYS", "API_BASE", "BASE_URL", "ORG_ID", "PROJECT_ID")
}
# What begins so is for holdall, or is likely to be; of all else only the nearest names are.
_OURS = ("OPENAI_SRC_", "OPENAI_DST_", "HOLDALL_")
_LIKELY = ("SRC_", "DST_", "CLONE_", "INCLUDE_", "MAX_CON")


# Asked of the whole environment each time that settings are read.
@lru_cache(maxsize=1024)
def meant(name: str) -> str | None:
    """The variable that is likely to be meant by ``name``, ``""`` for one that is surely for holdall but like none.

    None for a name that is read, and for one that is another program's.

    >>> meant("MAX_CONCURENCY"), meant("OPENAI_SRC_COLOUR"), meant("OPENAI_API_KEY"), meant("PATH")
    ('MAX_CONCURRENCY', '', None, None)
    """
    upper = name.upper()
    if name in VARIABLES or upper in _OTHERS:
        return None
    import difflib

    for prefix in _OURS:
        if upper.startswith(prefix):
            ends = sorted(each.removeprefix(prefix) for each in VARIABLES if each.startswith(prefix))
            nearest = difflib.get_close_matches(upper.removeprefix(prefix), ends, n=1, cutoff=0.42)
            return prefix + nearest[0] if nearest else ""
    likeness = 0.8 if upper.startswith(_LIKELY) else 0.88
    nearest = difflib.get_close_matches(upper, sorted(VARIABLES), n=1, cutoff=likeness)
    return nearest[0] if nearest else None
