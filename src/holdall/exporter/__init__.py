"""The engine of ``holdall export``: survey, contents, writer, report."""
