"""JSON and YAML of anybody: plain values, or one clear line within the limits."""

import os
import time

import pytest

from maquette.core.errors import UserError
from maquette.core.parse import CONTAINERS, MOST_JSON, MOST_YAML, characters_of, parse_json, parse_yaml, read_json

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
YAML = [
    (BOMB, r"'\*a0' stands for what is written elsewhere: write it out \(line 2\)"),
    ("a: &a [*a]", "written elsewhere"),
    ("[" * 5000, "nested more than 50 deep"),
    ("- " * 5000, "nested more than 50 deep"),
    ("{a: " * 60 + "1" + "}" * 60, "nested more than 50 deep"),
    ("a: 1\na: 2", r"'a' stands twice \(line 2\)"),
    ("1: a", "no string: set quotes around it"),
    ("? [a]\n: b", "no string"),
    ("? {a: b}\n: b", "no string"),
    ("yes: a", "no string"),
    ("a: " + "9" * 5000, "a number has 5,000 digits"),
    ("a: 0x" + "f" * 5000, "digits"),
    ("a: 1" + ":1" * 5000 + ".0", "digits"),
    ("a: !!binary aaaa", "the tag 'tag:yaml.org,2002:binary' is not read"),
    ("a: !!bool x", "is not read"),
    ("a: !!int ''", "is not read"),
    ("a: !!set {x}", "is not read"),
    ("a: !!python/object/apply:os.system [id]", "is not read"),
    ("a: ! b", "is not read"),
    ('a: "\\ud800"', "surrogates not allowed"),
    ("a: \x00", "special characters are not allowed"),
    (b"a: \xff", "can't decode byte 0xff"),
    ("a: [1", "expected ',' or ']'"),
    ("a: b: c", r"mapping values are not allowed here \(line 1\)"),
    ("--- a\n--- b", "expected a single document in the stream, but found another"),
    (" " * (MOST_YAML + 1), "more than 131,072 bytes"),
]
JSON = [
    ("[" * 100_000, "nested more than 50 deep"),
    ("[" * 60 + "]" * 60, "nested more than 50 deep"),
    ('{"a":' * 100_000, "nested more than 50 deep"),
    ('{"a": 1, "a": 2}', "'a' stands twice"),
    ("9" * 5000, "a number has 5,000 digits"),
    ('["\\ud800"]', "surrogates not allowed"),
    (b'"\xff"', "can't decode byte 0xff"),
    ('"\n"', "Invalid control character"),
    ("[1, 2", "Expecting ',' delimiter"),
    ("", "Expecting value"),
    ("1 2", "Extra data"),
    ("[" + "{}," * CONTAINERS + "0]", "more than 4,194,304 lists and objects"),
    (b" " * (MOST_JSON + 1), "more than 67,108,864 bytes"),
]


@pytest.mark.parametrize(("content", "problem"), YAML, ids=range(len(YAML)))
def test_what_is_wrong_with_yaml_is_one_line_at_once(content, problem):
    began = time.process_time()
    with pytest.raises(UserError, match=f"'r.yaml' is not valid YAML: .*{problem}") as error:
        parse_yaml(content, "r.yaml")
    assert "\n" not in error.value.problem and time.process_time() - began < 5


@pytest.mark.parametrize(("content", "problem"), JSON, ids=range(len(JSON)))
def test_what_is_wrong_with_json_is_one_line_at_once(content, problem):
    began = time.process_time()
    with pytest.raises(UserError, match=f"'s.json' is damaged: .*{problem}") as error:
        parse_json(content, "s.json")
    assert "\n" not in error.value.problem and time.process_time() - began < 5


def test_what_is_right_is_read():
    assert parse_yaml(b"\xef\xbb\xbfa: 1\r\nb: [x, 2.5, null]\r\n", "r") == {"a": 1, "b": ["x", 2.5, None]}
    assert parse_yaml("day: 2001-13-45\nis: =\nmerged: <<", "r") == {"day": "2001-13-45", "is": "=", "merged": "<<"}
    assert parse_yaml("", "r") is None
    assert parse_json(b'\xef\xbb\xbf{"a": [1, 1e400, "\\ud83d\\ude00\\u0000"]}\r\n', "s") == {
        "a": [1, float("inf"), "\U0001f600\x00"]
    }


def test_only_files_are_read(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        read_json(tmp_path / "a.json")
    with pytest.raises(UserError, match="not to be read: it is no file"):
        read_json(tmp_path)
    with pytest.raises(UserError, match="embedded null byte"):
        characters_of(tmp_path / "\0")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "endless.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "endless.json"):
        with pytest.raises(UserError, match="not to be read: it is no file"):
            read_json(tmp_path / name)
    (tmp_path / "long.json").write_bytes(b"1" * 100)
    with pytest.raises(UserError, match="more than 10 bytes"):
        characters_of(tmp_path / "long.json", most=10)
