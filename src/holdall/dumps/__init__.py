"""Definitions out of old dumps, in the shapes that people have them in. Pure: bytes in, records out; nothing is run.

Before the Assistants API ended, everybody saved what they could with what they had: one list answer, a bare array, one
object, JSON lines, pretty objects one after another (``curl >>``), an export file of some other tool with the objects
somewhere inside; with a byte order mark or in UTF-16 where PowerShell wrote it; printed by Python or Node; in a log, a
notebook, a database's table; in the shape of v2 or of v1. ``text`` finds the values, ``csv_markdown`` the rows of a
table and the fields of Markdown, ``found`` the objects in them; ``normal`` says which are like assistants, and makes
each what the API would have said, of v1 too.
"""

from holdall.dumps.found import Dump, Unread, read_dumps

__all__ = ["Dump", "Unread", "read_dumps"]
