"""The importer's verbs, each an options Struct and one function: the only way in for who is not of the importer."""
