"""Reads definitions from old dumps, in any notation. Pure: bytes in, records out; nothing is run.

A dump may be a list answer, a bare array, one object, JSON lines, pretty-printed objects in a row (``curl >>``), or
another tool's export with the objects inside; with a byte order mark or in UTF-16, as PowerShell writes; printed by
Python or Node; in a log, a notebook, a database table; of API v2 or v1. ``text`` finds the values, ``csv_markdown`` the
rows of a table and the fields of Markdown, ``found`` the objects in them; ``normal`` recognises assistants and converts
them to the API's form.
"""

from holdall.dumps.found import Dump, Unread, read_dumps

__all__ = ["Dump", "Unread", "read_dumps"]
