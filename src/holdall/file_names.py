"""What the name of a file says: whether it is text, and the names that a copy may have. Pure."""

from __future__ import annotations

_TEXT_NAMES = frozenset({
    "adoc", "bat", "c", "cc", "cfg", "conf", "cpp", "cs", "css", "csv", "cxx", "diff", "go", "h", "hpp", "htm", "html",
    "ini", "java", "js", "json", "jsonl", "kt", "log", "lua", "markdown", "md", "mjs", "org", "patch", "php", "pl",
    "ps1", "py", "r", "rb", "rs", "rst", "rtf", "scala", "sh", "sql", "srt", "svg", "swift", "tex", "toml", "ts",
    "tsv", "tsx", "txt", "vtt", "xml", "yaml", "yml",
})  # fmt: skip
# Of these a server may hand out what a reader would see, which is shorter than the file.
_MARKUP_NAMES = frozenset({"htm", "html", "rtf", "svg", "xml"})


def is_text_name(filename: str) -> bool:
    """True for names of plain-text types: what the parser reads in these is the file itself."""
    stem, dot, extension = filename.rpartition(".")
    return bool(dot and stem) and extension.lower() in _TEXT_NAMES


def copy_names(name: str, *, is_text: bool) -> list[str]:
    """The names that a copy of a file may be given, in the order in which they are tried. ``is_text``: its text is all
    that there is of it.

    Servers go by a name's ending, whatever is in the file, and some know no ending in upper case: so its own name,
    that with the ending in lower case, and last the one that says text.

    >>> copy_names("A.PDF", is_text=False), copy_names("A.PDF", is_text=True)
    (['A.PDF', 'A.pdf', 'A.PDF.txt'], ['A.PDF.txt'])
    """
    stem, dot, ending = name.rpartition(".")
    lower = f"{stem}.{ending.lower()}" if stem and dot else name
    text = lower if lower.endswith(".txt") else f"{name}.txt"
    own = [] if is_text and not is_text_name(name) else [name, lower]
    return list(dict.fromkeys([*own, text]))


def comparable_size(filename: str | None, size: int | None) -> int | None:
    """``size``, a file's bytes, where the whole text of a file of that name must have as many; else None."""
    markup = (filename or "").rpartition(".")[2].lower() in _MARKUP_NAMES
    return size if filename and is_text_name(filename) and not markup else None
