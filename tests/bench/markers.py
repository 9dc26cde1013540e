"""Parts of the README that a command fills: each stands between a begin and an end line of its own."""

from pathlib import Path


class NoPlace(ValueError):
    """The file has not both lines, once each and in this order."""


def put_between(file: Path, begin: str, end: str, inner: str):
    """Replaces what stands between the two lines; raises NoPlace and leaves the file alone if it can't."""
    text = file.read_text()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise NoPlace(f"{file}: no lines {begin} and {end}, once each")
    file.write_text(f"{text[: text.index(begin)]}{begin}\n{inner}\n{text[text.index(end) :]}")
