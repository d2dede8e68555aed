"""A batch of CIFAR as its authors wrote it, which no Python of today writes."""

import struct

import pytest


def _string(text):
    """A text as Python 2 writes it."""
    raw = text if isinstance(text, bytes) else text.encode()
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw


def _batch(data, labels, key="labels"):
    """A batch of CIFAR as its authors pickled it with Python 2, protocol 2, opcode by opcode."""
    count = struct.pack("<i", len(data))
    dtype = b"cnumpy\ndtype\nq\x05" + _string("u1") + b"K\x00K\x01\x87Rq\x06(K\x03" + _string("|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85" + _string("b") + b"\x87Rq\x04"
    state = b"(K\x01J" + count + b"M" + struct.pack("<H", data.shape[1]) + b"\x86" + dtype + b"\x89"
    content = array + state + _string(data.tobytes()) + b"tb"
    listed = b"]q\x07(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"]q\x08(" + _string("a.png") + _string("b.png") + b"e"
    items = _string("data") + content + _string(key) + listed + _string("filenames") + names
    return b"\x80\x02}q\x01(" + items + _string("batch_label") + _string("training batch 1 of 5") + b"u."


@pytest.fixture(scope="session")
def python2():
    """The function from images and labels to the bytes of such a batch."""
    return _batch
