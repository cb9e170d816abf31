"""The importer's verbs, each an options Struct and one function. No other package imports anything else of the
importer."""
