"""Code objects of this interpreter's standard library, as an agent's records tell of them, and the lines that the interpreter
itself gives for their instructions: test_python_code.c compares.

    code_records.py [EACH]

For each: a struct rqs_code_record (include/reqscope/region.h); the number of instructions, u32; a line for each, i32. In the
end a zero, u16. Any CPython from 3.8 on; nothing but its standard library.
"""

import ctypes
import os
import struct
import sys
import types

EACH = int(sys.argv[1]) if len(sys.argv) > 1 else 8
RECORD_CODE, TABLE_MAX, TEXT_MAX = 4, 8192, 512
LNOTAB, PEP626, PEP657 = 1, 2, 3
MINOR = sys.version_info[1]

addr2line = ctypes.pythonapi.PyCode_Addr2Line
addr2line.argtypes = [ctypes.py_object, ctypes.c_int]


def text(s):
    """Its characters as the interpreter keeps them."""
    width, name = (1, "latin-1") if max(s, default="") < "\u0100" else (2, "utf-16-le") if max(s) < "\U00010000" else (4, "utf-32-le")
    return width, s.encode(name)


def record(code, number):
    table, kind = (code.co_lnotab, LNOTAB) if MINOR < 10 else (code.co_linetable, PEP626 if MINOR < 11 else PEP657)
    if len(table) > TABLE_MAX:
        return None
    file_width, file = text(code.co_filename)
    name_width, name = text(getattr(code, "co_qualname", code.co_name))
    file, name = file[-TEXT_MAX:], name[:TEXT_MAX]
    body = file + name + table
    body += bytes(-len(body) % 8)
    head = struct.pack("<HBBIIHHBBHI", 24 + len(body), RECORD_CODE, kind, number, code.co_firstlineno, len(file), len(name),
                       file_width, name_width, len(table), 0)
    return head + body


def codes(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def sources():
    """Of the standard library every EACHth file of some packages; and what no file of it has."""
    yield "<odd>", "def \u4e2d\u6587(x):\n  y = [\n\n" + "\n" * 300 + "  x, (lambda:\n\n x)]\n  return (y\n  )\n"
    yield "/\U0001f600/\u00e9.py", "x = 1\ntry:\n  x()\nexcept E as e:\n  pass\nfinally:\n  with x as y: del y\n"
    root = os.path.dirname(os.__file__)
    for directory in ("", "asyncio", "email", "json", "concurrent/futures", "xml/etree", "http"):
        names = sorted(name for name in os.listdir(os.path.join(root, directory)) if name.endswith(".py"))
        for name in names[::EACH]:
            path = os.path.join(root, directory, name)
            with open(path, "rb") as file:
                yield path, file.read()


def main():
    out = sys.stdout.buffer
    number = 0
    for path, source in sources():
        for code in codes(compile(source, path, "exec", dont_inherit=True)):
            told = record(code, number + 1)
            if told:
                number += 1
                lines = [max(addr2line(code, i), 0) for i in range(0, len(code.co_code), 2)]
                out.write(told + struct.pack(f"<I{len(lines)}i", len(lines), *lines))
    out.write(b"\0\0")


main()
