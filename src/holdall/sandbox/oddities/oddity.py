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
    LIST_CURSOR_EMPTY = "list-cursor-empty", "cursors are ignored: every page after the first is empty"
    LIST_CURSOR_FIRST_PAGE = "list-cursor-first-page", "cursors are ignored: every page is the first page"
    LIST_CURSOR_REFUSED = "list-cursor-refused", "after and before are refused with 400"
    LIST_REPEATS_PAGE = (
        "list-repeats-page",
        "a page is repeated once instead of the next one; a second request gets the next one",
    )
    LIST_DESC_SKIPS = "list-desc-skips", "order=desc (the default) repeats some rows and skips others"
    LIST_SHORT_PAGES = "list-short-pages", "limit is ignored: three items per page"
    LIST_EVERYTHING = "list-everything", "limit is ignored: everything in one page"
    LIST_UNPAGED = "list-unpaged", "limit, order and cursors are ignored: everything in one page, without has_more"

    # Calls that are accepted and, in part, not carried out.
    BATCH_IGNORES_FILES = (
        Variation.BATCH_IGNORES_FILES,
        "file_batches(files=[…]) is accepted, attaches nothing and completes",
    )
    STORE_IGNORES_FILES = "store-ignores-files", "vector_stores.create(file_ids=…) creates an empty store"
    INLINE_STORES_IGNORED = "inline-stores-ignored", "tool_resources.file_search.vector_stores creates no store"
    EXPIRES_AFTER_IGNORED = "expires-after-ignored", "expires_after of a store is dropped"
    METADATA_IGNORED = "metadata-ignored", "metadata of stores and assistants is dropped"
    DESCRIPTION_IGNORED = "description-ignored", "description is dropped"
    REASONING_EFFORT_IGNORED = "reasoning-effort-ignored", "reasoning_effort is dropped"
    ATTRIBUTES_IGNORED = "attributes-ignored", "attributes of a store's files are dropped"
    NULL_REFUSED = "null-refused", "null in a create call is refused with 400"
    UNKNOWN_FILE_ACCEPTED = (
        Variation.UNKNOWN_FILE_ACCEPTED,
        "a file id that doesn't exist is attached, and indexing fails",
    )
    SAME_BYTES_SAME_ID = Variation.SAME_BYTES_SAME_ID, "uploading the same bytes twice gives one file"
    ONE_UPLOAD_A_SECOND = "one-upload-a-second", "a second upload within a second gets 429 without Retry-After"
    UPLOAD_LOWER_CASE = (
        Variation.UPLOAD_LOWER_CASE,
        "uploads with an upper-case extension are refused",
    )
    SEARCH_LOWER_CASE = Variation.SEARCH_LOWER_CASE, "a file with an upper-case extension can't be attached to a store"
    INDEX_LOWER_CASE = (
        Variation.INDEX_LOWER_CASE,
        "a file with an upper-case extension fails in a store as unsupported_file",
    )
    BATCH_500 = "batch-500", "file_batches(files=[…]) answers 500; single files work"
    REFUSED_UPLOAD_BREAKS_LIST = (
        "refused-upload-breaks-list",
        "after a refused upload, listing files fails with 500",
    )

    # States.
    FAILURES_COUNT_AS_COMPLETED = "failures-count-as-completed", "stores and batches count a failed file as completed"
    STORE_STAYS_IN_PROGRESS = "store-stays-in-progress", "a store stays in_progress after an update"
    COUNTS_CONTRADICT = (
        "counts-contradict",
        "file_counts.total of a store is two higher than the number of files listed",
    )
    COUNTS_ZERO = "counts-zero", "file_counts of a store are always zero"
    COUNTS_LEFT_OUT = "counts-left-out", "stores have no file_counts"

    # Records.
    METADATA_OWN_KEYS = "metadata-own-keys", "the server adds a key to metadata"
    METADATA_RESERVED = (
        "metadata-reserved",
        "the server adds provider_id and embedding_model to a store's metadata, and refuses them in requests",
    )
    METADATA_MANY_KEYS = "metadata-many-keys", "the server adds twenty keys to metadata"
    ATTRIBUTES_OWN_KEYS = "attributes-own-keys", "the server adds a key to the attributes of a store's files"
    DEFAULTS_LEFT_OUT = "defaults-left-out", "an assistant's fields with default values are omitted"
    NUMBERS_AS_FLOATS = "numbers-as-floats", "whole numbers come back as 3.0"
    STRINGS_CUT = "strings-cut", "names, instructions and metadata are cut to 60 characters"
    SCHEMA_RENAMED = "schema-renamed", "schema in a response format is named schema_"
    TOOLS_NULL = "tools-null", "tools is null if there are none"
    RESOURCES_NULL = (
        "resources-null",
        "code_interpreter and file_search in tool_resources are null if empty",
    )
    EXTRA_KEYS = "extra-keys", "objects have unknown keys"
    ECHOES_KEY = "echoes-key", "objects contain the API key of the request: plain, base64 and percent-encoded"
    ID_UNDERSCORE = Variation.ID_UNDERSCORE, "ids of files are file_…"
    ID_HEX = Variation.ID_HEX, "ids are 24 hex digits"
    ID_UUID = Variation.ID_UUID, "ids are UUIDs"
    ID_ASSISTANT = Variation.ID_ASSISTANT, "ids of files of purpose assistants are assistant-…"
    CREATED_IN_MILLISECONDS = "created-in-milliseconds", "created_at is in milliseconds"
    CREATED_AS_FLOAT = "created-as-float", "created_at has a fraction"
    BYTES_WRONG = "bytes-wrong", "bytes of a file is wrong"
    FILENAMES_ASCII = "filenames-ascii", "filenames lose all non-ASCII letters"

    # Parsed text.
    TEXT_OVERLAPS = Variation.TEXT_OVERLAPS, "parts of parsed text overlap by the chunk overlap"
    TEXT_CUT_BY_BYTES = (
        Variation.TEXT_CUT_BY_BYTES,
        "parts of parsed text overlap, and are cut inside characters, which become U+FFFD",
    )
    TEXT_OTHER_SHAPE = "text-other-shape", "parsed text comes as {file_id, filename, content}"
    TEXT_501 = "text-501", "parsed text is not implemented"
    TEXT_404 = "text-404", "parsed text is not found"
    TEXT_TOKEN_STUCK = "text-token-stuck", "next_page of parsed text always leads to the same page"
    TEXT_MORE_WITHOUT_TOKEN = "text-more-without-token", "parsed text has has_more but no next_page"

    # Search.
    SEARCH_OWN_IDS = "search-own-ids", "search results have ids of their own"
    SEARCH_BARE = "search-bare", "search results have ids of their own and no filenames"

    # Answers.
    MISSING_400 = "missing-400", "a missing object answers 400"
    MISSING_500 = "missing-500", "a missing object answers 500"
    MISSING_NULL = "missing-null", "a missing object answers 200 with null"
    DELETES_ANYTHING = "deletes-anything", "deleting an object that never existed answers 200"
    DELETE_404 = "delete-404", "every delete answers 404, and nothing is deleted"
    DELETE_FALSE = "delete-false", "every delete answers 200 with deleted: false, and nothing is deleted"
    DELETE_IGNORED = "delete-ignored", "every delete answers 200 with deleted: true, and nothing is deleted"
    DELETE_204 = "delete-204", "a delete answers 204 without a body"
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
    BETA_MISPLACED = "beta-misplaced", "OpenAI-Beta is refused on endpoints that don't need it"
    REFUSAL_NAMES_MODEL = (
        "refusal-names-model",
        "a parameter that the model doesn't accept is refused with param=model; only the message names it",
    )
    STATUS_201 = "status-201", "201 instead of 200"
    HALF_CHARACTERS = (
        "half-characters",
        "an emoji at the end of a text or metadata value, or before a filename's extension, loses its second half",
    )
    FILES_NAN = "files-nan", "file objects contain NaN"
    FILES_LATIN_1 = "files-latin-1", "file objects are encoded in Latin-1"
    PADDED = "padded", "answers start with a byte order mark and line breaks, and end with a line break"
    DROPS_AFTER_ERROR = "drops-after-error", "after an error, the next request on the connection is reset"
