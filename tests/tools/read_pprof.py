"""Reads a profile of Go's runtime/pprof: a gzipped protocol buffer (github.com/google/pprof, proto/profile.proto)."""

import gzip
from collections import Counter
from dataclasses import dataclass

NOWHERE = "(nowhere)"  # an address that is in no function

# Fields of the messages.
SAMPLE, LOCATION, FUNCTION, STRING = 2, 4, 5, 6


@dataclass
class Profile:
    stacks: list  # of (names from the leaf on, count)

    @property
    def total(self) -> int:
        return sum(count for _, count in self.stacks)

    def leaves(self) -> Counter:
        """Share of the samples by the function they were in."""
        return self._shares(lambda names: names[:1])

    def everywhere(self) -> Counter:
        """Share of the samples that have a function anywhere in their stack."""
        return self._shares(set)

    def callers(self, function: str) -> Counter:
        """Share of the samples in a function, or in what it calls, by its caller."""
        return self._shares(lambda names: names[names.index(function) + 1 :][:1] if function in names else [])

    def _shares(self, chosen) -> Counter:
        counts = Counter()
        for names, count in self.stacks:
            for name in chosen(names):
                counts[name] += count
        return Counter({name: count / self.total for name, count in counts.items()})


def read(data: bytes) -> Profile:
    strings, functions, locations, samples = [], {}, {}, []
    for field, value in _fields(gzip.decompress(data)):
        if field == STRING:
            strings.append(value.decode())
        elif field == FUNCTION:
            function = dict(_fields(value))
            functions[function[1]] = function.get(2, 0)  # code that no table has is nameless
        elif field == LOCATION:
            # Inlined functions are several lines of one place.
            lines = [dict(_fields(line)) for number, line in _fields(value) if number == 4]
            locations[dict(_fields(value))[1]] = [line[1] for line in lines]
        elif field == SAMPLE:
            places = [place for number, part in _fields(value) if number == 1 for place in _varints(part)]
            values = [one for number, part in _fields(value) if number == 2 for one in _varints(part)]
            samples.append((places, values[0]))
    name = {number: strings[text] or NOWHERE for number, text in functions.items()}
    return Profile([
        ([name[line] for place in places for line in locations[place]] or [NOWHERE], count)
        for places, count in samples
    ])  # fmt: skip


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _varints(data: bytes | int) -> list[int]:
    """Of a repeated field, packed or one by one."""
    if isinstance(data, int):
        return [data]
    at, values = 0, []
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _fields(data: bytes):
    """(number, value) of each field; all that profiles have are numbers and lengths of bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        yield key >> 3, value
