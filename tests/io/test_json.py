"""One canonical spelling, exact numbers, and a reader that refuses what is no document."""

from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.errors import CheckpointError, InputError
from neurodecorr.io.json import canonical_json, plain, read_json

TEXTS = st.text('a"\\/\0\n é\u0304\u2028\U0001f300', max_size=6)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXTS, VALUES))
def test_a_document_comes_back_exactly(value):
    assert read_json(canonical_json(value).encode(), "test") == value


@given(st.dictionaries(TEXTS, LEAVES, min_size=2), st.randoms())
def test_the_spelling_does_not_depend_on_the_order_of_keys(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


def test_numpy_and_paths_become_plain():
    value = {
        "flag": np.bool_(True),
        "n": np.int32(3),
        "rate": np.float32(0.1),
        "R": np.eye(2),
        "at": PurePosixPath("a/b"),
        "shape": (2, 3),
    }
    flat = plain(value, "value")
    assert flat == {
        "flag": True,
        "n": 3,
        "rate": float(np.float32(0.1)),
        "R": [[1, 0], [0, 1]],
        "at": "a/b",
        "shape": [2, 3],
    }
    assert [type(flat[key]) for key in ("flag", "n", "rate")] == [bool, int, float]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {1: 2}}, r"the keys of value\['a'\] must be text; got 1 of type int"),
        ({"a": [0, {"b": {3}}]}, r"value\['a'\]\[1\]\['b'\] must be text, a number.*got set"),
        ({"z": 1j}, r"value\['z'\] must be.*got complex"),
        ({"z": np.array([1j])}, r"value\['z'\] must be.*got ndarray"),
        ({"f": len}, r"value\['f'\] must be"),
    ],
)
def test_what_has_no_form_in_json_is_refused_with_its_place(value, message):
    with pytest.raises(InputError, match=message):
        plain(value, "value")


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(InputError, match="value must not contain itself"):
        plain(loop, "value")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe", b"[1]", b"3", b'{"a":}', b"[" * 100_000], ids=lambda text: repr(text[:8])
)
def test_what_is_no_document_is_refused(text):
    with pytest.raises(CheckpointError, match="file: meta must be"):
        read_json(text, "file: meta")
