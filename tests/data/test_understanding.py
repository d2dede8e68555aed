"""What an array file holds: a table, pictures, or a question."""

import numpy as np
import pytest

from neurodecorr.data import load_inputs, load_split
from neurodecorr.errors import ConfigError, InputError

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((400, 5))
PICTURE = RNG.integers(0, 256, (48, 64)).astype(np.uint8)


def saved(tmp_path, name="x", **arrays):
    if set(arrays) == {"alone"}:
        np.save(tmp_path / f"{name}.npy", arrays["alone"])
        return tmp_path / f"{name}.npy"
    np.savez(tmp_path / f"{name}.npz", **arrays)
    return tmp_path / f"{name}.npz"


@pytest.mark.parametrize(
    "arrays",
    [
        {"alone": RNG.standard_normal((30, 8, 200))},  # trials × channels × time
        {"alone": RNG.standard_normal((30, 64, 64))},  # the same, square: no picture has negative values
        {"alone": RNG.random((12, 16, 100))},
        {"one": TABLE, "two": TABLE[:50]},
        {"photo": RNG.random((1024, 1536))},
        {"alone": RNG.random((480, 640))},
        {"alone": PICTURE},
        {"alone": PICTURE.T},
        {"alone": RNG.integers(0, 256, (640, 200)).astype(np.uint8)},
        {"alone": RNG.standard_normal((100, 90))},
    ],
)
def test_what_cannot_be_told_is_asked(tmp_path, arrays):
    path = saved(tmp_path, **arrays)
    for load in (load_inputs, load_split):
        with pytest.raises(InputError, match="--as images or --as table"):
            load(path, 50)


def test_the_answer_is_taken(tmp_path):
    path = saved(tmp_path, alone=PICTURE)
    assert load_inputs(path, 50, size=4, kind="images").shape == (4, 4)
    assert load_inputs(path, 50, kind="table").features == 64
    assert load_inputs(path, 50, transpose=True).features == 48
    assert load_inputs(saved(tmp_path, "y", alone=RNG.standard_normal((30, 8, 20))), kind="table").features == 160


def test_transposed_columns_are_samples(tmp_path):
    tall, wide = saved(tmp_path, "tall", alone=TABLE), saved(tmp_path, "wide", alone=TABLE.T)
    one, other = load_inputs(tall), load_inputs(wide, transpose=True)
    assert np.allclose(one.inputs, other.inputs, atol=1e-12)
    assert "400 samples of 5 features: rows are samples" in one.description
    assert "400 samples of 5 features: columns are samples" in other.description


def test_channels_by_time_are_said_to_be_rows_by_features(tmp_path):
    found = load_inputs(saved(tmp_path, alone=RNG.standard_normal((8, 5000))))
    assert "8 samples of 5,000 features: rows are samples; transpose with --transpose?" in found.description


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"kind": "images", "transpose": True}, InputError),
        ({"kind": "picture"}, ConfigError),
        ({"source": "natural", "kind": "table"}, InputError),
        ({"source": "gaussian", "transpose": True}, InputError),
    ],
)
def test_an_answer_to_another_question_is_refused(tmp_path, options, error):
    with pytest.raises(error):
        load_inputs(**{"source": saved(tmp_path, alone=TABLE), **options})


def test_two_tables_are_not_one(tmp_path):
    with pytest.raises(InputError, match="one 400 × 5, two 50 × 5"):
        load_inputs(saved(tmp_path, one=TABLE, two=TABLE[:50]), kind="table")


def test_what_does_not_fit_in_memory_is_refused_before_it_is_made(monkeypatch):
    from neurodecorr._numerics import memory as _memory

    monkeypatch.setattr(_memory, "available", lambda: 10**9)
    with pytest.raises(InputError, match=r"must fit in memory: it takes about .* GB, and 1 GB are free"):
        load_split("natural", 10**8)


def test_the_test_set_of_a_labelled_set_is_held_out(tmp_path):
    x, y = RNG.integers(0, 256, (90, 6, 6)).astype(np.uint8), np.arange(90) % 3
    path = saved(tmp_path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    split = load_split(path, 50)
    assert (len(split.stream), len(split.held_out)) == (50, 30) and split.words.startswith("by set")
    rows = np.sort(split.held_out.inputs * x[:60].std(axis=0).mean(), axis=None)
    assert np.allclose(np.diff(rows) > 1e-9, np.diff(np.sort(x[60:], axis=None)) > 0)


def test_copies_among_held_out_rows_are_counted(tmp_path):
    split = load_split(saved(tmp_path, alone=np.tile(TABLE[:100], (4, 1))), 400)
    assert "are copies of rows learnt from" in split.words
    assert "copies" not in load_split(saved(tmp_path, "z", alone=TABLE), 400).words
