"""Damaged and hostile versions of a file's bytes: of any file, and of one whose form is known. Each is derived from a
generator alone, so that it can be made again."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import PurePath
from random import Random
from typing import Any

import yaml

# What stands in the place of a value, as JSON or YAML would write it.
VALUES = (
    "null", "true", "[]", "{}", '""', '"abc"', "0", "1", "-1", "5", "0.5", "-3.7", "1e308", "1e999", "NaN", "-Infinity",
    str(2**31), str(2**63), "9" * 300, "9" * 5000, "-" + "9" * 30, '"NaN"', '"17"', "[1]", "[[]]", '[null, "a"]',
    '{"a": {"b": [1, 2]}}', '{"": 0}', '"' + "A" * 300_000 + '"', "[" + "0," * 50_000 + "0]", '"' + "../" * 2000 + '"',
    "[" * 200 + "]" * 200, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000, "[" * 100_000,
    r'"\u001b]0;pwned\u0007\u001b[2J"', r'"\u0000"', r'"\ud800"', r'"a\nb\rc\u2028d"', r'"\u202egnp.exe"',
    r'"\u009b31m"', '"<script>alert(1)</script>"', '"\\"><img src=x onerror=alert(1)>"', '"hf:owner/name"', '"wandb"',
    '"../../../../tmp/maquette-outside"', '"/dev/zero"', r'"C:\\x"', '"mnist"', '"os.path"', '"' + "e\u0301" * 99 + '"',
)  # fmt: skip
OF_YAML = (
    ".nan", ".inf", "2001-01-01", "0o17", "~", "!!binary aGk=", "!!set {a, b}", "&a [*a]", "*unknown", "[a, [b",
    '!!python/object/apply:os.system ["touch /tmp/maquette-outside"]', "!!python/name:os.system", "{[a]: b}", "| x",
    "[" + "".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}], " for n in range(12)) + "]", "'\t\x07'",
)  # fmt: skip
LINES = (
    b"5", b"null", b"[]", b'"x"', b"{}", b"", b"\xff\xfe", b"\x00" * 99, b"{" * 9999, b"[" * 100_000, b"\r",
    b"\xe2\x80\xa8", b'{"step": "7", "items": 3}', b'{"step": 7}', b'{"items": 7}', b'{"alarm": 5}',
    b'{"alarm": "x", "step": null}', b'{"step": 1e999, "items": NaN}', b'{"step": true, "items": []}',
    b'{"step": -1, "items": -1, "seconds": null}', b'{"step": 99999999999999999999999, "items": 1}',
    b'{"a": "' + b"x" * 3_000_000 + b'"}', b'{"step": 3, "items": 3, "items_per_s": 1e999, "d/loss": "x"}',
)  # fmt: skip
_STRANGE = (b"\0", b"\xff", b"\n", b"\r", b'"', b"}", b"-", b"\xef\xbb\xbf", b"9" * 50)  # put between bytes
_PLACE = "here it goes"


def mutated(content: bytes, name: str, draw: Random) -> bytes:
    """One mutation, or a few in a row, of a file of that name."""
    form, most = _FORMS.get(PurePath(name).suffix), 2 * len(content) + 1000
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        ways = (form, form, _bytes) if form and len(content) < most else (_bytes,)  # YAML is read slowly
        try:
            content = draw.choice(ways)(content, draw)
        except (ValueError, LookupError, TypeError, RecursionError, OverflowError, yaml.YAMLError, struct.error):
            content = _bytes(content, draw)  # an earlier one has left nothing of the form
    return content


def _bytes(content: bytes, draw: Random) -> bytes:
    size = len(content)
    a, b = sorted((draw.randint(0, size), draw.randint(0, size)))
    near = min(size, a + draw.choice((1, 1, 2, 8, 64, 1000)))
    c = draw.randint(0, size)

    def flipped() -> bytes:
        out = bytearray(content or b"\0")
        for _ in range(draw.choice((1, 1, 3, 20))):
            out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
        return bytes(out)

    ways: tuple[Callable[[], bytes], ...] = (
        flipped,
        flipped,
        lambda: content[:a] + content[near:],
        lambda: content[:a] + content[b:],
        lambda: content[:a] + draw.randbytes(draw.choice((1, 4, 100))) + content[a:],
        lambda: content[:a] + draw.choice(_STRANGE) + content[a:],
        lambda: content[:a],
        lambda: content[b:] + content[a:b] + content[:a],
        lambda: content[:c] + content[a:near] + content[c:],
        lambda: content[:a] + bytes(near - a) + content[near:],
        lambda: content[:a] + content[a:near] * draw.choice((2, 50)) + content[near:],
        lambda: b"",
        lambda: b"\xff\xfe" + content.decode("latin-1").encode("utf-16-le"),
    )  # fmt: skip
    return draw.choice(ways)()


def _json(content: bytes, draw: Random) -> bytes:
    """A value, or the name of one, replaced; members taken away, doubled, or put elsewhere."""
    return _replaced(json.loads(content), draw, VALUES, lambda value: json.dumps(value, indent=2, ensure_ascii=False))


def _yaml(content: bytes, draw: Random) -> bytes:
    values = VALUES if draw.random() < 0.7 else OF_YAML
    if b"&" in content:  # one before has put a bomb there: it is no tree any more, and too large to walk
        raise ValueError
    # In flow style, what is put in stays in one place, whatever it is.
    return _replaced(yaml.safe_load(content), draw, values, _flow)


def _flow(tree: Any) -> str:
    return yaml.dump(tree, default_flow_style=True, width=math.inf)


def _replaced(tree: Any, draw: Random, values: tuple[str, ...], dump: Callable[[Any], str]) -> bytes:
    holders = _members(tree)
    if not holders or draw.random() < 0.03:
        return draw.choice(values).encode("utf-8")
    holder, key = draw.choice(holders)
    new = draw.choice(values)
    match draw.choice(("value", "value", "value", "value", "away", "renamed", "added", "elsewhere", "doubled")):
        case "value":
            holder[key] = _PLACE
        case "away":
            del holder[key]
        case "renamed" if isinstance(holder, dict):
            holder[_PLACE] = holder.pop(key)
            new = new if new.startswith('"') else '"abc"'
        case "added" if isinstance(holder, dict):
            holder[draw.choice(("abc", "step", "kind", "", "__class__"))] = _PLACE
        case "elsewhere":
            other, there = draw.choice(holders)
            other[there] = json.loads(json.dumps(holder[key]))
        case _:
            holder[key] = [holder[key], holder[key]]
    written = dump(tree)
    for quoted in (f'"{_PLACE}"', f"'{_PLACE}'", _PLACE):
        written = written.replace(quoted, new, 1)
    return written.encode("utf-8", "surrogatepass")


def _members(tree: Any) -> list[tuple[Any, Any]]:
    """(the dict or list that holds it, its key) of every value in a tree."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [found for key in keys for found in ((tree, key), *_members(tree[key]))]


def _lines(content: bytes, draw: Random) -> bytes:
    """JSON a line: a line changed, put in, taken away, doubled, moved."""
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    match draw.choice(("json", "json", "json", "put", "put", "away", "moved", "doubled", "crlf")):
        case "json":
            lines[at] = _json(lines[at], draw).replace(b"\n", b" ")
        case "put":
            lines.insert(draw.choice((at, 0, len(lines) - 1, len(lines))), draw.choice(LINES))
        case "away":
            del lines[at]
        case "moved":
            lines.insert(draw.randrange(len(lines)), lines.pop(at))
        case "doubled":
            lines[at:at] = [lines[at]] * draw.choice((1, 500))
        case "crlf":
            return b"\r\n".join(lines)
    return b"\n".join(lines)


def _safetensors(content: bytes, draw: Random) -> bytes:
    """Its header, how long it says that this is, the shape of a tensor, or numbers."""
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], bytearray(content[8 + size :])
    match draw.choice(("header", "header", "size", "numbers", "numbers", "shape")):
        case "header":
            header = _json(header, draw)
        case "shape":
            tensors = json.loads(header)
            tensor = draw.choice([tensor for name, tensor in tensors.items() if name != "__metadata__"])
            shape = tensor["shape"]
            tensor["shape"] = draw.choice(([], [0], [2**40], [1, *shape], shape[::-1], [-1]))
            header = json.dumps(tensors).encode()
        case "size":
            size = draw.choice((0, 1, size // 2, size + 1, len(content), 2**31, 2**63, 2**64 - 1))
            return size.to_bytes(8, "little") + header + bytes(data)
        case _:
            value = struct.pack("<f", draw.choice((float("nan"), float("inf"), -1e38, 1e30)))
            for _ in range(draw.choice((1, 100))):
                at = draw.randrange(len(data) // 4) * 4
                data[at : at + 4] = value
    return len(header).to_bytes(8, "little") + header + bytes(data)


_FORMS: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": _json, ".yaml": _yaml, ".jsonl": _lines, ".safetensors": _safetensors,
}  # fmt: skip
