"""Pickles without unpickling: plain data come out as they went in, everything else is refused and nothing runs."""

import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurodecorr.data import cifar
from neurodecorr.data.cifar import read_plain
from neurodecorr.errors import InputError

PROTOCOLS = (2, 3, 4, 5)


def same(found, expected):
    if isinstance(expected, np.ndarray):
        return found.dtype == expected.dtype and np.array_equal(found, expected)
    return type(found) is type(expected) and found == expected


def string(text):
    """A short text as Python 2 writes it."""
    return b"U" + bytes([len(text)]) + text.encode()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["u1", "<i8", ">i4", "<f4", "<f8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_out_as_they_went_in(protocol, kind, order):
    array = np.asarray(np.arange(12).reshape(3, 4) % 5, dtype=kind, order=order)
    assert same(read_plain(pickle.dumps(array, protocol), "x"), array)
    assert same(read_plain(pickle.dumps({"a": array, "b": array}, protocol), "x")["b"], array)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@settings(max_examples=80, deadline=None)
@given(value=plain, protocol=st.sampled_from(PROTOCOLS))
def test_plain_values_come_out_as_they_went_in(value, protocol):
    assert same(read_plain(pickle.dumps(value, protocol), "x"), value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_keys_of_bytes_come_out_as_texts_and_bytes_as_bytes(protocol):
    found = read_plain(pickle.dumps({b"data": b"\xff\x00", b"\xe9": 1}, protocol), "x")
    assert found == {"data": b"\xff\x00", "é": 1}


def test_a_batch_of_python_2_is_read_as_pickle_reads_it(python2):
    data = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    content = python2(data, [3, 9])
    expected = pickle.loads(content, encoding="bytes")
    found = read_plain(content, "x")
    assert np.array_equal(found["data"], expected[b"data"]) and np.array_equal(found["data"], data)
    assert found["labels"] == expected[b"labels"] == [3, 9]
    assert found["filenames"] == ["a.png", "b.png"]
    assert found["batch_label"] == "training batch 1 of 5"


class Trap:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_a_trap_is_refused_and_does_not_spring(protocol, tmp_path):
    target = tmp_path / "sprung"
    for value in (Trap(os.mkdir, str(target)), {"data": [Trap(os.mkdir, str(target))]}, {"a": Trap(eval, "1 + 1")}):
        with pytest.raises(InputError, match="x must hold plain data; "):
            read_plain(pickle.dumps(value, protocol), "x")
    assert not target.exists()
    pickle.loads(pickle.dumps(Trap(os.mkdir, str(target)), protocol))
    assert target.exists()  # the trap was live


def test_the_message_names_the_call_that_is_refused():
    with pytest.raises(InputError, match=r"it asks for a call of posix.system|it asks for a call of nt.system"):
        read_plain(pickle.dumps(Trap(os.system, "true"), 2), "x")


class Plain:
    pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "readable pickle"),
        (b"plain text", "readable pickle|refused"),
        (b"\x80\x02}q\x00", "readable pickle"),
        (b"\x80\x02K\x01K\x02.", "its end is missing or misplaced"),
        (b"\x80\x02.", "readable pickle"),
        (b"\x80\x02e.", "readable pickle"),
        (b"\x80\x02(.", "readable pickle"),
        (b"\x80\x02h\x05.", "readable pickle"),
        (b"\x80\x02K\x01]K\x02s.", "readable pickle"),
        (b"\x80\x02}]K\x02s.", "a list where a text should be"),
        (b"\x80\x02T\xff\xff\xff\x7fab.", "readable pickle"),
        (b"\x80\x02cos\nsystem\nU\x04true\x85R.", "a call of os.system, which is refused"),
        (b"\x80\x02cos\nsystem\n(U\x04trueo.", "opcode OBJ can do more"),
        (b"(S'true'\nios\nsystem\n.", "can do more and is refused"),
        (b"S'\\q'\n.", "opcode STRING can do more"),
        (b"\x80\x02cneurodecorr\nDataset\n)\x81.", "opcode NEWOBJ can do more"),
        (b"\x80\x02U\x04nameQ.", "opcode BINPERSID can do more"),
        (b"\x80\x02\x82\x01.", "refused|readable"),
        (b"\x80\x02K\x01)R.", "a call of an object, which is refused"),
        (b"\x80\x02]}b.", "it sets the state of an object"),
        (b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.", "it sets the state of an object"),
        (b"\x80\x02}K\x01\x85\x85\x85K\x01s.", "a tuple where a text should be"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7fab.", "readable pickle"),
        (pickle.dumps(np.array([None, 1]), 2), "a list where bytes should be"),
        (pickle.dumps(np.zeros(2, dtype=[("a", "u1")]), 2), "plain numbers|refused"),
        (pickle.dumps(np.array(["a"]), 2), "plain numbers"),
        (pickle.dumps(np.float64(1), 2), "call of numpy._?core.multiarray.scalar"),
        (pickle.dumps({1, 2}, 4), "refused"),
        (pickle.dumps(Plain(), 2), "refused|plain data"),
    ],
)
def test_what_is_no_plain_data_is_refused(content, message):
    with pytest.raises(InputError, match=message):
        read_plain(content, "x")


def forged(shape, raw=b"\0" * 8, code="u1"):
    """An array of protocol 2 whose state claims any shape."""
    good = pickle.dumps(np.zeros(8, "u1"), 2)
    state = pickle.dumps(shape, 2)[2:-1].replace(b"q\x00", b"")
    return good.replace(b"K\x08\x85", state, 1)


@pytest.mark.parametrize("shape", [(10**15,), (2**62, 2**62), (0, 10**30), (9,), (-8,), (2,) * 40, (8, 1.0), "text"])
def test_an_array_that_claims_more_than_the_file_holds_costs_no_memory(shape):
    content = forged(shape)
    assert content != pickle.dumps(np.zeros(8, "u1"), 2)
    tracemalloc.start()
    with pytest.raises(InputError, match="x must be a readable pickle"):
        read_plain(content, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_a_text_that_is_named_again_and_again_is_not_copied_again_and_again():
    big = b"T" + struct.pack("<i", 10**6) + b"\0" * 10**6
    encoded = b"c_codecs\nencode\nh\x01" + string("latin1") + b"\x86R0"
    content = b"\x80\x02" + big + b"q\x010" + encoded * 1000 + b"N."
    with pytest.raises(InputError, match="its arrays take more bytes than the file"):
        read_plain(content, "x")


def test_a_place_in_the_memory_that_is_far_away_costs_no_memory():
    # The unpickler in C makes room for every place before it: 32 GB.
    tracemalloc.start()
    assert read_plain(b"\x80\x02Nr\xff\xff\xff\x7f.", "x") is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_nesting_costs_no_recursion():
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert isinstance(read_plain(deep, "x"), list)
    laughs = b"\x80\x02]q\x00" + b"".join(b"(" + b"h\x00" * 10 + b"tq\x00" for _ in range(1000)) + b"."
    with pytest.raises(InputError, match="its end is missing"):
        read_plain(laughs, "x")


def test_a_file_of_nothing_but_opcodes_is_stopped(monkeypatch):
    assert cifar._MOST_OPCODES == 2**21
    monkeypatch.setattr(cifar, "_MOST_OPCODES", 1000)
    with pytest.raises(InputError, match="more than 1,000 pickle opcodes"):
        read_plain(b"\x80\x02" + b"N0" * 501 + b"N.", "x")


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, 400), value=st.integers(0, 255), cut=st.booleans())
def test_no_forged_byte_raises_anything_but_an_input_error(python2, place, value, cut):
    content = bytearray(python2(np.arange(6, dtype=np.uint8).reshape(2, 3), [1, 2]))
    content[place % len(content)] = value
    try:
        read_plain(bytes(content[: place if cut else None]), "x")
    except InputError as error:
        assert str(error).startswith("x must ")
