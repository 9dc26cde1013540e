"""Reads a profile of pprof's: a gzipped protocol buffer (github.com/google/pprof, proto/profile.proto)."""

import gzip
from collections import Counter
from dataclasses import dataclass, field

NOWHERE = "(nowhere)"  # an address that is in no function

# Fields of the profile's messages.
TYPE, SAMPLE, MAPPING, LOCATION, FUNCTION, STRING = range(1, 7)
TIME, DURATION, PERIOD_TYPE, PERIOD, COMMENT, DEFAULT_TYPE = range(9, 15)


@dataclass(frozen=True)
class Line:
    function: str
    file: str
    line: int
    module: str
    inlined: bool  # into the next one


@dataclass
class Sample:
    lines: list  # from the leaf on
    values: list  # one a type
    labels: dict


@dataclass
class Profile:
    samples: list
    types: list  # of (type, unit)
    period_type: tuple
    period: int
    time: int  # ns since the epoch
    duration: int  # ns
    default_type: str
    comments: list = field(default_factory=list)

    @property
    def stacks(self) -> list:
        """(names from the leaf on, first value) of each sample."""
        return [([line.function for line in s.lines] or [NOWHERE], s.values[0]) for s in self.samples]

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
    parts, one = {number: [] for number in range(1, 16)}, Counter()
    for number, value in _fields(gzip.decompress(data)):
        parts[number].append(value)
        one[number] = value
    strings = [text.decode() for text in parts[STRING]]
    if strings[0]:
        raise ValueError("the first string isn't empty")

    def pair(value):
        names = dict(_fields(value))
        return strings[names.get(1, 0)], strings[names.get(2, 0)]

    places = _places(parts, strings)
    comments = [number for value in parts[COMMENT] for number in _varints(value)]
    return Profile(
        samples=[_sample(value, places, strings) for value in parts[SAMPLE]],
        types=[pair(value) for value in parts[TYPE]],
        period_type=pair(one[PERIOD_TYPE] or b""), period=one[PERIOD], time=one[TIME], duration=one[DURATION],
        default_type=strings[one[DEFAULT_TYPE]], comments=[strings[number] for number in comments],
    )  # fmt: skip


def _places(parts: dict, strings: list) -> dict:
    """The lines of each location by its id."""
    modules, functions, places = {0: ""}, {}, {}
    for value in parts[MAPPING]:
        mapping = dict(_fields(value))
        modules[mapping[1]] = strings[mapping.get(5, 0)]
    for value in parts[FUNCTION]:
        function = dict(_fields(value))  # code that no table has is nameless
        functions[function[1]] = (strings[function.get(2, 0)] or NOWHERE, strings[function.get(4, 0)])
    for value in parts[LOCATION]:
        place = dict(_fields(value))
        # Inlined functions are several lines of one place.
        lines = [dict(_fields(line)) for number, line in _fields(value) if number == 4]
        places[place[1]] = [
            Line(*functions[line[1]], line.get(2, 0), modules[place.get(2, 0)], line is not lines[-1]) for line in lines
        ]
    return places


def _sample(value: bytes, places: dict, strings: list) -> Sample:
    sample = Sample([], [], {})
    for number, part in _fields(value):
        if number == 1:
            for place in _varints(part):
                sample.lines += places[place]
        elif number == 2:
            sample.values += _varints(part)
        elif number == 3:
            label = dict(_fields(part))
            sample.labels[strings[label[1]]] = strings[label.get(2, 0)] if 2 in label else label.get(3, 0)
    return sample


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
