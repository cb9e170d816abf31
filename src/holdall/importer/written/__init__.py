"""Requests for the Responses API, which no server keeps: files in OUTPUT_DIR."""
