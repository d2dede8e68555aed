"""How the room `circuit` is called."""

import numpy as np
import scipy.sparse
from bad_values import Call, Choice, Flag, Number, Numbers, Place, Seed, Several, Sparse, Table, Text, Valid, Whole

from neurodecorr import circuit
from neurodecorr.circuit import Circuit, PiecewiseConstant, SparseCircuit, TwoPopulationCircuit
from neurodecorr.circuit.integrate import record_trajectory
from neurodecorr.circuit.stability import predicted_settling_time

R = np.array([[2.0, 1.0, 0.0], [0.5, 3.0, 0.2], [0.0, 0.1, 1.5]])
X = np.array([[1.0, -2.0, 0.5], [0.25, 1.0, 3.0]])
CIRCUIT, PAIR, SPARSE = Circuit(R), TwoPopulationCircuit(R), SparseCircuit(scipy.sparse.csr_array(R))
SETTLED = circuit.settle(CIRCUIT, X)
STABILITY = circuit.stability(CIRCUIT)
JUMPS = PiecewiseConstant([0.0, 0.5], X)
SQUARE = {"sparse": "a matrix of weights as well", "of another format": "it is converted"}

EXEMPT = {
    "circuit.Stability": "a record of results, filled by the library",
}

CALLS = [
    Call("circuit.Circuit", Circuit, {"R": Numbers(R), "tau": Number(1.0, above=0)}),
    Call("circuit.Circuit.two_population", CIRCUIT.two_population, {"tau_error": Number(1.0, above=0, none=True)}),
    Call(
        "circuit.TwoPopulationCircuit",
        TwoPopulationCircuit,
        {"R": Numbers(R), "tau": Number(1.0, above=0), "tau_error": Number(1.0, above=0, none=True)},
    ),
    Call(
        "circuit.SparseCircuit",
        SparseCircuit,
        {"R": Sparse(scipy.sparse.csr_array(R), also=SQUARE), "tau": Number(1.0, above=0)},
    ),
    Call(
        "circuit.PiecewiseConstant",
        PiecewiseConstant,
        {"times": Numbers([0.0, 0.5]), "values": Numbers(X, also={"longer": "of more units"})},
    ),
    Call("circuit.Settled.sample", SETTLED.sample, {"index": Whole(1, low=-2, high=1)}),
    Call(
        "circuit.Stability.settling_time",
        STABILITY.settling_time,
        {"tol": Number(1e-6, above=0), "distance": Number(1.0, low=0)},
    ),
    Call("circuit.certificate", circuit.certificate, {"circuit": Valid(CIRCUIT), "X": Numbers(X), "xbar": Numbers(X)}),
    Call(
        "circuit.chebyshev_schedule",
        circuit.chebyshev.chebyshev_schedule,
        {"steps": Whole(4, low=1, high=10**8), "low": Number(0.5, above=0, high=2), "high": Number(2.0, low=0.5)},
    ),
    Call(
        "circuit.grid_neighbours",
        circuit.sparse.grid_neighbours,
        {"shape": Several((3, 4)), "k": Whole(2, low=0, high=11), "torus": Flag(False)},
    ),
    Call("circuit.grid_taper", circuit.sparse.grid_taper, {"shape": Several((3, 4)), "reach": Whole(2, low=1)}),
    Call(
        "circuit.random_neighbours",
        circuit.sparse.random_neighbours,
        {"n": Whole(5, low=3, high=10**8), "k": Whole(2, low=0, high=4), "seed": Seed(0)},
    ),
    Call(
        "circuit.integrate",
        circuit.integrate,
        {
            "circuit": Valid(CIRCUIT),
            "x": Numbers(X, also={"function": "an input may be a function of time"}),
            "t_end": Number(1.0, above=0),
            "method": Choice("rk45"),
            "times": Numbers([0.0, 0.5, 1.0], none=True),
            "dt": Number(0.1, above=0, none=True),
            "initial": Numbers(np.zeros(3), none=True),
            "rtol": Number(1e-6, above=0, none=True),
            "atol": Number(1e-9, above=0),
            "allow_unstable": Flag(False),
        },
    ),
    Call(
        "circuit.integrate",
        lambda times, values: circuit.integrate(CIRCUIT, PiecewiseConstant(times, values), 1.0),
        {"times": Numbers([0.0, 0.5]), "values": Numbers(X)},
    ),
    Call(
        "circuit.mismatched",
        circuit.model.mismatched,
        {"weights": Numbers(R, any_shape=True), "level": Number(0.1, low=0), "seed": Seed(0)},
    ),
    Call(
        "circuit.predicted_settling_time",
        predicted_settling_time,
        {"circuit": Valid(CIRCUIT), "X": Numbers(X), "tol": Number(1e-6, above=0)},
    ),
    Call(
        "circuit.record_trajectory",
        lambda **options: record_trajectory(**options),
        {
            "circuit": Valid(CIRCUIT),
            "x": Numbers(X[0], also={"function": "an input may be a function of time"}),
            "t_end": Number(0.2, above=0, high=1e4),
            "path": Place("trace.h5"),
            "dt": Number(0.1, above=0, none=True),
            "what": Several(("xbar", "residual")),
            "method": Choice("auto"),
            "step": Number(0.1, above=0, none=True),
            "initial": Numbers(np.zeros(3), none=True),
            "seed": Seed(0),
            "tau_unit": Text("s"),
            "config": Table({"name": "test"}, none=True, json=True),
        },
    ),
    Call(
        "circuit.settle",
        circuit.settle,
        {
            "circuit": Valid(CIRCUIT),
            "X": Numbers(X),
            "tol": Number(1e-6, above=0),
            "relative": Flag(False),
            "method": Choice("auto"),
            "dt": Number(None, none=True),
            "initial": Numbers(np.zeros(3), none=True),
            "t_max": Number(100.0, above=0, none=True),
            "max_steps": Whole(1000, low=1, none=True),
        },
    ),
    *[
        Call(
            "circuit.settle",
            lambda tol, dt, method=method: circuit.settle(CIRCUIT, X, tol, method=method, dt=dt),
            {"tol": Number(1e-6, above=0), "dt": Number(0.1, above=0, none=True)},
        )
        for method in ("euler", "rk4", "rk45", "implicit", "exponential")
    ],
    Call(
        "circuit.settle_sparse",
        circuit.sparse_settling.settle_sparse,
        {
            "circuit": Valid(SPARSE),
            "X": Numbers(X),
            "tol": Number(1e-6, above=0),
            "relative": Flag(False),
            "method": Choice("auto"),
            "initial": Numbers(np.zeros(3), none=True),
            "max_steps": Whole(1000, low=1, none=True),
        },
    ),
    Call(
        "circuit.solve",
        circuit.solve,
        {"circuit": Valid(CIRCUIT), "X": Numbers(X), "tol": Number(1e-6, above=0), "relative": Flag(False)},
    ),
    Call(
        "circuit.sigma_bound",
        circuit.sparse.sigma_bound,
        {"circuit": Valid(SPARSE), "seed": Seed(0), "failure": Number(1e-12, low=0, high=1)},
    ),
    Call("circuit.stability", circuit.stability, {"circuit": Valid(CIRCUIT), "method": Choice("auto")}),
    Call(
        "circuit.stability_limit",
        circuit.stability_limit,
        {
            "method": Choice("rk4"),
            "eigenvalues": Numbers(
                np.array([1.0, 2.0]),
                any_shape=True,
                also={"as complex": "they may be", "True": "1", "numpy True": "1", "1j": "they may be"},
            ),
        },
    ),
]
