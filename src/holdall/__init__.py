"""holdall: pack OpenAI assistants and all they know into one bundle file, and replay it into any project."""

__version__ = "0.1.0"
