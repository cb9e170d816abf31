"""A sample project: the assistants of a tea merchant that does not exist, with real documents.

``definition.json`` says what the project holds and is read by ``definition``; the documents lie in ``documents/`` under
plain ASCII names (a wheel must unpack on every system) and get their true, awkward names from the definition; it is
made in an account by ``holdall.cli.fill``, through the same client that the product uses.
"""
