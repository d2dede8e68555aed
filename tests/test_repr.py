"""What descriptions and results look like in a terminal and in a notebook: one short line, a small table, no arrays."""

import dataclasses
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import neurodecorr as nd
from neurodecorr import network, plasticity

PACKAGE = Path(nd.__file__).parent
LONG = 300
NAMES = ["circuit", "settled", "one settled", "stability", "trajectory", "rule", "state", "plan", "network"]
NAMES += ["deep network", "pass", "dataset", "model", "null", "backprop", "trainer"]
HOSTILE = "<script>alert('x')</script>\x1b[2J" + "long " * 100


def public_classes():
    """Yield every public class of the rooms that describes or holds something: no errors, protocols or base tuples."""
    rooms = [".".join(init.parent.relative_to(PACKAGE).parts) for init in sorted(PACKAGE.rglob("__init__.py"))]
    for room in [*(room for room in rooms if room and not room.startswith(("_", "cli"))), "measures", "models"]:
        module = importlib.import_module(f"neurodecorr.{room}")
        for name in getattr(module, "__all__", ()):
            kind = getattr(module, name)
            own = inspect.isclass(kind) and not (getattr(kind, "_is_protocol", False) or inspect.isabstract(kind))
            if own and not issubclass(kind, BaseException | tuple):
                yield pytest.param(kind, id=f"{room}.{name}")


def require_short(found):
    text, page = repr(found), found._repr_html_()
    assert len(text) <= LONG and "\n" not in text and "0x" not in text and "array(" not in text, text
    assert "<script" not in page and "\x1b" not in page and "0x" not in page and "array(" not in page


@pytest.mark.parametrize("kind", list(public_classes()))
def test_every_public_class_has_a_repr_of_its_own_and_one_for_notebooks(kind):
    assert kind.__repr__ is not object.__repr__ and not hasattr(kind.__repr__, "__wrapped__")
    assert hasattr(kind, "_repr_html_")


@pytest.mark.parametrize("kind", [p for p in public_classes() if p.values[0].__repr__.__qualname__ == "_line"])
def test_whatever_a_field_holds_the_line_stays_short_and_the_page_escaped(kind):
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    values = np.ones((200, 200)), HOSTILE, len, object(), [HOSTILE] * 3, {"a": np.ones(3)}, 1 / 3, None, lambda: None
    for value in values:
        found = object.__new__(kind)
        for field in fields:
            object.__setattr__(found, field.name, value)
        require_short(found)


def learnt():
    X = np.random.default_rng(0).standard_normal((200, 40))
    rule = plasticity.LearningRule()
    return plasticity.learn(plasticity.initial_state(X, rule), X, rule)


def real():
    R = np.eye(40) + 0.01
    X = np.random.default_rng(0).standard_normal((60, 40))
    layers = [nd.Conv2d(4, 3), nd.Dense(8), nd.Dense(3, "identity")]
    return {
        "circuit": nd.Circuit(R),
        "settled": nd.settle(nd.Circuit(R), X),
        "one settled": nd.settle(nd.Circuit(R), X[0]),
        "stability": nd.stability(nd.Circuit(R)),
        "trajectory": nd.integrate(nd.Circuit(R), X[0], 1.0),
        "rule": plasticity.LearningRule(),
        "state": learnt(),
        "plan": network.Decorrelation("recurrent"),
        "network": nd.Network(layers, (1, 8, 8), decorrelation=network.Decorrelation("recurrent")),
        "deep network": nd.Network([nd.Dense(10)] * 60, 10),
        "pass": nd.Network([nd.Dense(10)], 40).forward(X),
        "estimator": nd.RecurrentDecorrelator(epochs=1).fit(X),
        "dataset": nd.Dataset(X),
        "model": nd.load_model("digits"),
        "null": nd.measures.null_directions(X),
        "backprop": nd.Backprop(),
        "trainer": nd.Trainer(nd.Network([nd.Dense(10)], 40), nd.Backprop(), nd.Adam()),
    }


@pytest.fixture(scope="module")
def found():
    return real()


@pytest.mark.parametrize("name", NAMES)
def test_what_users_make_prints_one_short_line(found, name):
    require_short(found[name])


def test_lines_say_what_matters(found):
    assert repr(found["state"]) == "State(R and M of n=40, float64, samples=200, limited=0, resynchronised=0)"
    assert repr(found["network"]) == "Network(1×8×8 → 6×6×4 → 8 → 3, recurrent, float32)"
    assert repr(found["deep network"]) == "Network(60 layers, no decorrelation, float32)"
    assert repr(found["settled"]).startswith("Settled(60 of 60 samples, n=40, bound ≤ ")
    assert repr(plasticity.Decay()) == "Decay(hold=6.5, half=0.5)"
    assert "rule='implicit'" in repr(found["rule"])
    assert "0x" not in repr(found["estimator"]) and len(repr(found["estimator"])) <= LONG
