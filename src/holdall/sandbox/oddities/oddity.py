"""The oddities by name. Each was seen on a running server; none of them is a fault of the request that meets it."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from holdall.sandbox.service.switches import Variation


class Oddity(StrEnum):
    """One oddity, with what it does in a sentence. Of those that contradict each other the first one counts."""

    says: str

    def __new__(cls, value: str, says: str) -> Self:
        made = str.__new__(cls, value)
        made._value_ = str(value)
        made.says = says
        return made

    # Lists.
    LIST_NO_HAS_MORE = "list-no-has-more", "lists come without has_more, first_id and last_id"
    LIST_NO_OBJECT = "list-no-object", "lists come without object"
    LIST_ALWAYS_MORE = "list-always-more", "has_more is true on the last page too"
    LIST_CURSOR_EMPTY = "list-cursor-empty", "no cursor is known: every page after the first is empty"
    LIST_CURSOR_FIRST_PAGE = "list-cursor-first-page", "no cursor is known: every page is the first page"
    LIST_CURSOR_REFUSED = "list-cursor-refused", "after and before are refused with 400"
    LIST_REPEATS_PAGE = (
        "list-repeats-page",
        "a page comes once more in place of the next one, which comes when asked again",
    )
    LIST_DESC_SKIPS = "list-desc-skips", "order=desc, the default, doubles some rows and skips others"
    LIST_SHORT_PAGES = "list-short-pages", "limit is ignored: three at a time"
    LIST_EVERYTHING = "list-everything", "limit is ignored: everything at once"
    LIST_UNPAGED = "list-unpaged", "limit, order and cursors are ignored: everything at once, without has_more"

    # Calls that are accepted and, in part, not carried out.
    BATCH_IGNORES_FILES = (
        Variation.BATCH_IGNORES_FILES,
        "file_batches(files=[…]) is accepted, attaches nothing and completes",
    )
    STORE_IGNORES_FILES = "store-ignores-files", "vector_stores.create(file_ids=…) makes an empty store"
    INLINE_STORES_IGNORED = "inline-stores-ignored", "tool_resources.file_search.vector_stores makes no store"
    EXPIRES_AFTER_IGNORED = "expires-after-ignored", "expires_after of a store is dropped"
    METADATA_IGNORED = "metadata-ignored", "metadata of stores and assistants is dropped"
    DESCRIPTION_IGNORED = "description-ignored", "description is dropped"
    REASONING_EFFORT_IGNORED = "reasoning-effort-ignored", "reasoning_effort is dropped"
    ATTRIBUTES_IGNORED = "attributes-ignored", "attributes of a store's files are dropped"
    NULL_REFUSED = "null-refused", "null in a call that creates something is refused with 400"
    UNKNOWN_FILE_ACCEPTED = Variation.UNKNOWN_FILE_ACCEPTED, "a file id that does not exist is attached, and fails"
    SAME_BYTES_SAME_ID = Variation.SAME_BYTES_SAME_ID, "the same bytes uploaded twice are one file"
    ONE_UPLOAD_A_SECOND = "one-upload-a-second", "429 without Retry-After to a second upload within a second"
    UPLOAD_LOWER_CASE = (
        Variation.UPLOAD_LOWER_CASE,
        "uploads whose name ends in upper case are refused for their extension",
    )
    SEARCH_LOWER_CASE = Variation.SEARCH_LOWER_CASE, "no store takes a file whose name ends in upper case"
    INDEX_LOWER_CASE = (
        Variation.INDEX_LOWER_CASE,
        "in a store, a file whose name ends in upper case fails as unsupported_file",
    )
    BATCH_500 = "batch-500", "file_batches(files=[…]) answers 500; single files are taken"
    REFUSED_UPLOAD_BREAKS_LIST = (
        "refused-upload-breaks-list",
        "once an upload was refused, the list of files fails with 500",
    )

    # States.
    FAILURES_COUNT_AS_COMPLETED = "failures-count-as-completed", "stores and batches count a failed file as completed"
    STORE_STAYS_IN_PROGRESS = "store-stays-in-progress", "a store that was updated is in_progress for ever"
    COUNTS_CONTRADICT = "counts-contradict", "file_counts.total of a store is two more than what it lists"
    COUNTS_ZERO = "counts-zero", "file_counts of a store are zero whatever it holds"
    COUNTS_LEFT_OUT = "counts-left-out", "stores have no file_counts"

    # Records.
    METADATA_OWN_KEYS = "metadata-own-keys", "metadata has a key of the server's own"
    METADATA_RESERVED = (
        "metadata-reserved",
        "metadata of a store has provider_id and embedding_model, with which none can be made or updated",
    )
    METADATA_MANY_KEYS = "metadata-many-keys", "metadata has twenty keys more"
    ATTRIBUTES_OWN_KEYS = "attributes-own-keys", "attributes of a store's files have a key of the server's own"
    DEFAULTS_LEFT_OUT = "defaults-left-out", "what an assistant has at its default is left out"
    NUMBERS_AS_FLOATS = "numbers-as-floats", "whole numbers come back as 3.0"
    STRINGS_CUT = "strings-cut", "names, instructions and metadata are cut to 60 letters"
    SCHEMA_RENAMED = "schema-renamed", "schema of a response format is called schema_"
    TOOLS_NULL = "tools-null", "tools is null where there are none"
    RESOURCES_NULL = (
        "resources-null",
        "code_interpreter and file_search of tool_resources are null where they are empty",
    )
    EXTRA_KEYS = "extra-keys", "objects have keys that nobody knows"
    ECHOES_KEY = "echoes-key", "objects have the key of the request in them: plain, as base64 and percent-encoded"
    ID_UNDERSCORE = Variation.ID_UNDERSCORE, "ids of files are file_…"
    ID_HEX = Variation.ID_HEX, "ids are 24 hex digits"
    ID_UUID = Variation.ID_UUID, "ids are UUIDs"
    ID_ASSISTANT = Variation.ID_ASSISTANT, "ids of files are assistant-…"
    CREATED_IN_MILLISECONDS = "created-in-milliseconds", "created_at counts milliseconds"
    CREATED_AS_FLOAT = "created-as-float", "created_at has a fraction"
    BYTES_WRONG = "bytes-wrong", "bytes of a file is not its size"
    FILENAMES_ASCII = "filenames-ascii", "filenames lose their letters beyond ASCII"

    # Parsed text.
    TEXT_OVERLAPS = Variation.TEXT_OVERLAPS, "items of parsed text repeat each other by the chunk overlap"
    TEXT_CUT_BY_BYTES = (
        Variation.TEXT_CUT_BY_BYTES,
        "items of parsed text repeat each other and begin and end inside characters, which come as U+FFFD",
    )
    TEXT_OTHER_SHAPE = "text-other-shape", "parsed text comes as {file_id, filename, content}"
    TEXT_501 = "text-501", "parsed text is not implemented"
    TEXT_404 = "text-404", "parsed text is not found"
    TEXT_TOKEN_STUCK = "text-token-stuck", "next_page of parsed text leads to the same page for ever"
    TEXT_MORE_WITHOUT_TOKEN = "text-more-without-token", "parsed text says has_more and has no next_page"

    # Search.
    SEARCH_OWN_IDS = "search-own-ids", "the hits of a search have ids of the search's own"
    SEARCH_BARE = "search-bare", "the hits of a search have ids of the search's own and no filenames"

    # Answers.
    MISSING_400 = "missing-400", "what is not there answers 400"
    MISSING_500 = "missing-500", "what is not there answers 500"
    MISSING_NULL = "missing-null", "what is not there answers 200 null"
    DELETES_ANYTHING = "deletes-anything", "deleting what never existed answers 200"
    DELETE_404 = "delete-404", "there is no way to delete: 404 whatever is asked, and nothing is deleted"
    DELETE_FALSE = "delete-false", "a delete answers 200 and deleted: false, and nothing is deleted"
    DELETE_IGNORED = "delete-ignored", "a delete answers 200 and deleted: true, and nothing is deleted"
    DELETE_204 = "delete-204", "what was deleted answers 204 without a body"
    ERROR_DETAIL = "error-detail", 'errors are {"detail": …}'
    ERROR_TEXT = "error-text", 'errors are {"error": "…"}'
    ERROR_FLAT = "error-flat", 'errors are {"message", "code"}'
    ERROR_PLAIN = "error-plain", "errors are plain text"
    ERROR_HTML = "error-html", "errors are HTML"
    ERROR_EMPTY = "error-empty", "errors have no body"
    UNKNOWN_405 = "unknown-405", "an unknown path answers 405"
    UNKNOWN_500 = "unknown-500", "an unknown path answers 500"
    UNKNOWN_501 = "unknown-501", "an unknown path answers 501"
    UNKNOWN_PAGE = "unknown-page", "an unknown path answers 200 with a web page"
    DELETE_NO_TYPE = "delete-no-type", "a DELETE with a Content-Type and no body is refused"
    BETA_MISPLACED = "beta-misplaced", "OpenAI-Beta is refused where it doesn't belong"
    REFUSAL_NAMES_MODEL = (
        "refusal-names-model",
        "a parameter that a model doesn't take is refused with param model; only the sentence names it",
    )
    STATUS_201 = "status-201", "201 in place of 200"
    HALF_CHARACTERS = (
        "half-characters",
        "an emoji at the end of a text or metadata, or before a filename's extension, loses its second half",
    )
    FILES_NAN = "files-nan", "file objects have a number that is NaN"
    FILES_LATIN_1 = "files-latin-1", "file objects are written in Latin-1"
    PADDED = "padded", "answers have a byte order mark and line breaks before them, and a line break behind"
    DROPS_AFTER_ERROR = "drops-after-error", "after an error the kept-alive connection is reset by the next request"
