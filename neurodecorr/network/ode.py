"""All layers of a network as one system of ordinary differential equations, integrated together.

Nothing waits for anything: while a lower layer still moves, the layers above follow it. The system is a cascade, so
where each layer alone is stable all of it is, and it rests where the layer-by-layer pass says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from scipy.integrate import solve_ivp

from neurodecorr import _validation
from neurodecorr._numerics.norms import EPS, norms, underflow
from neurodecorr._texts import short_repr
from neurodecorr._typing import Complexes, Floats
from neurodecorr.circuit.bounds import enclosing_ellipse, recurrence
from neurodecorr.circuit.chebyshev import schedule_time
from neurodecorr.circuit.chebyshev_kernels import march_rows
from neurodecorr.circuit.spectrum import Spectrum
from neurodecorr.errors import ConfigError, DivergenceError, InputError, StabilityError
from neurodecorr.network.activations import Activation
from neurodecorr.network.algebra import as_numpy, product
from neurodecorr.network.weights import WeightedLayer

State = list[Floats]  # x̄₀, y₀, x̄₁, y₁, …, one row per sample
MOST_STEPS = 1e8
STRIDE = 0.5  # step of the Runge–Kutta method over the fastest time constant
LOOK = 8  # its steps from one look at the certificate to the next
LONGEST = 1e4  # time after which settling gives up, in units of the slowest time constant
METHODS = ("chebyshev", "rk4")
# Chebyshev steps over those that the eigenvalues predict of one layer: a cascade of L passes its errors on upwards.
CASCADE = 2
MOST_LAYER_STEPS = 5000  # that a schedule may take; what needs more settles by Runge–Kutta steps


@dataclass(frozen=True, eq=False)
class LayerCircuit:
    """One layer of the system.

    ::

        τ dx̄/dt = A (x − μ) − B x̄,    τ' dy/dt = −y + φ(W x̄ + b)

    Parameters
    ----------
    feed, lateral : (n, n) array or None
        A and B; None is the identity.
    mean : (n,) array
        μ.
    W, b : (units, n) and (units,) arrays
        Weights and biases.
    activation : Activation
        φ.
    """

    feed: Floats | None
    lateral: Floats | None
    mean: Floats
    W: Floats
    b: Floats
    activation: Activation

    def pull(self, x: Floats, xbar: Floats) -> Floats:
        """Return A (x − μ) − B x̄: the residual of x̄, and τ times its velocity."""
        fed = x - self.mean if self.feed is None else product(x - self.mean, self.feed.T)
        return fed - (xbar if self.lateral is None else product(xbar, self.lateral.T))

    def push(self, xbar: Floats, y: Floats) -> Floats:
        """Return φ(W x̄ + b) − y: the residual of y, and τ' times its velocity."""
        return np.asarray(self.activation.value(product(xbar, self.W.T) + self.b)) - y

    def rest(self, x: Floats) -> tuple[Floats, Floats]:
        """Return x̄ and y at rest for inputs x, (n,) or (samples, n).

        ::

            B x̄ = A (x − μ),    y = φ(W x̄ + b)
        """
        fed = x - self.mean if self.feed is None else (x - self.mean) @ self.feed.T
        xbar = fed if self.lateral is None else np.linalg.solve(self.lateral, fed.T).T
        return xbar, np.asarray(self.activation.value(xbar @ self.W.T + self.b))

    @cached_property
    def R(self) -> Floats:
        """Lateral weights of the circuit that rests at the same x̄: B, the inverse of A, or the identity.

        Raises
        ------
        InputError
            If A is singular.
        """
        if self.lateral is not None:
            return self.lateral
        try:
            return np.eye(len(self.mean)) if self.feed is None else np.asarray(np.linalg.inv(self.feed))
        except np.linalg.LinAlgError:
            raise InputError(
                "M of each feedforward layer must be invertible to be a circuit; one is singular."
            ) from None

    @cached_property
    def offset(self) -> Floats:
        """A μ, (n,), summed exactly: the same on every machine."""
        if self.feed is None:
            return self.mean
        return np.array([math.fsum(products) for products in (self.feed * self.mean).tolist()], self.feed.dtype)

    def pull_rounding(self, x: Floats, xbar: Floats) -> Floats:
        """Return a bound on the rounding of `pull`, per sample, underflow included."""
        n = xbar.shape[1]
        feed, lateral, _ = self._frobenius
        sizes, back = feed * (norms(x) + float(norms(self.mean))), lateral * norms(xbar)
        moved = (xbar != 0).any(axis=1) | (x != 0).any(axis=1)
        return np.asarray((n + 4) * EPS * (sizes + back) + underflow(n) * moved)

    def push_rounding(self, xbar: Floats, y: Floats) -> Floats:
        """Return a bound on the rounding of `push`, per sample: that of W x̄ + b through φ, and of φ itself."""
        units, n = self.W.shape
        inner = self._frobenius[2] * norms(xbar) + float(norms(self.b))
        outer = 4 * EPS * norms(y) + underflow(units) * (y != 0).any(axis=1)
        return np.asarray((n + 4) * EPS * self.activation.steepest * inner + outer)

    @cached_property
    def _frobenius(self) -> tuple[float, float, float]:
        """Frobenius norms of A, B and W; 1 for an identity, which rounds nothing."""
        feed, lateral = (1.0 if one is None else float(np.linalg.norm(one)) for one in (self.feed, self.lateral))
        return feed, lateral, float(np.linalg.norm(self.W))

    @cached_property
    def eigenvalues(self) -> Complexes:
        """Eigenvalues of B, in units of 1/τ."""
        return np.ones(1, complex) if self.lateral is None else Spectrum(self.lateral).eigenvalues

    @cached_property
    def feed_norm(self) -> float:
        """‖A‖₂, rounded up."""
        return 1.0 if self.feed is None else _largest(self.feed)

    @cached_property
    def weight_norm(self) -> float:
        """Lipschitz constant of x̄ → φ(W x̄ + b), rounded up."""
        return self.activation.steepest * _largest(self.W)

    @cached_property
    def smallest(self) -> float:
        """σ_min(B), rounded down."""
        if self.lateral is None:
            return 1.0
        values = np.linalg.svd(self.lateral, compute_uv=False)
        return float(values[-1] - len(values) * np.finfo(float).eps * values[0])

    @cached_property
    def fastest(self) -> float:
        """‖B‖₂: the fastest rate, in units of 1/τ."""
        return 1.0 if self.lateral is None else _largest(self.lateral)

    @cached_property
    def slowest(self) -> float:
        """Slowest time constant of x̄, in units of τ.

        Raises
        ------
        StabilityError
            If the lateral circuit does not settle.
        """
        margin = float(self.eigenvalues[0].real)
        if margin <= 0:
            raise StabilityError(
                f"every layer's R must have min Re λ > 0 to settle; one has {margin:.3g}. Lower the decorrelation rate."
            )
        return 1 / margin


class Residuals(NamedTuple):
    """A layer, its input x and its state x̄, y, and what is left of the two equations, (samples, n or units)."""

    layer: LayerCircuit
    x: Floats
    xbar: Floats
    y: Floats
    pull: Floats
    push: Floats


@short_repr
@dataclass(frozen=True, eq=False)
class NetworkRest:
    """Resting state of the whole network, and its certificate.

    Parameters
    ----------
    xbar, activity : list of (samples, n) and (samples, units) arrays
        x̄ and y of each layer; the last activity is the output.
    bound : (samples,) array
        Certified upper bound of the distance ‖output − output*‖.
    bounds : list of (samples,) arrays
        The same for x̄₀, y₀, x̄₁, y₁, ….
    time : float
        Simulated time, in the unit of τ.
    """

    xbar: list[Floats]
    activity: list[Floats]
    bound: Floats
    bounds: list[Floats]
    time: float

    @property
    def output(self) -> Floats:
        """Activity of the last layer."""
        return self.activity[-1]


@short_repr
@dataclass(frozen=True, eq=False)
class NetworkTrajectory:
    """Activity of all layers over time.

    Parameters
    ----------
    t : (frames,) array
        Times, in the unit of τ.
    xbar, activity : list of (frames, samples, n) and (frames, samples, units) arrays
        x̄ and y of each layer.
    """

    t: Floats
    xbar: list[Floats]
    activity: list[Floats]


@short_repr
@dataclass(frozen=True, eq=False)
class NetworkCircuit:
    """A network of dense layers as one system of ODEs.

    ::

        τ dx̄_i/dt = A_i (x_i − μ_i) − B_i x̄_i,    τ' dx_{i+1}/dt = −x_{i+1} + φ(W_i x̄_i + b_i)

    A recurrent layer has A = I, B = R; a feedforward one A = M, B = I; one without decorrelation A = B = I.

    Parameters
    ----------
    layers : tuple of LayerCircuit
        From the input on.
    tau, tau_units : float
        τ and τ' > 0; their unit is that of every time.
    """

    layers: tuple[LayerCircuit, ...]
    tau: float = 1.0
    tau_units: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tau", "tau_units"):
            object.__setattr__(self, name, _validation.positive(getattr(self, name), name))

    @property
    def size(self) -> int:
        """Number of state variables per sample."""
        return sum(sum(layer.W.shape) for layer in self.layers)

    def rests(self, x: Floats) -> list[tuple[Floats, Floats]]:
        """Return x̄ and y of every layer at rest, from the input on; see `LayerCircuit.rest`."""
        found: list[tuple[Floats, Floats]] = []
        for layer in self.layers:
            found.append(layer.rest(found[-1][1] if found else x))
        return found

    def velocity(self, X: Floats, state: Sequence[Floats]) -> State:
        """Return the time derivative of every state variable, for constant inputs X."""
        return self._velocities(self._residuals(X, state))

    def _velocities(self, residuals: Sequence[Residuals]) -> State:
        """Return the time derivative of every state variable from what is left of its equation."""
        return [z for found in residuals for z in (found.pull / self.tau, found.push / self.tau_units)]

    def bounds(self, X: Floats, state: Sequence[Floats]) -> State:
        """Return an upper bound of the distance of every x̄ and y to its rest, per sample.

        ::

            ‖x̄ − x̄*‖ ≤ (‖r‖ + ‖A‖ ‖x − x*‖)/σ_min(B),   ‖y − y*‖ ≤ ‖ρ‖ + Lip(φ) ‖W‖ ‖x̄ − x̄*‖

        r and ρ are the residuals, their rounding included; the bound of one layer's y is that of the next one's x.
        """
        return self._bounds(self._residuals(X, state))

    def _bounds(self, residuals: Sequence[Residuals]) -> State:
        found: State = []
        below: Floats = np.zeros(1)
        for layer, x, xbar, y, pull, push in residuals:
            lateral = (norms(pull) + layer.pull_rounding(x, xbar) + layer.feed_norm * below) / layer.smallest
            below = norms(push) + layer.push_rounding(xbar, y) + layer.weight_norm * lateral
            found += [lateral, below]
        return found

    def _residuals(self, X: Floats, state: Sequence[Floats]) -> list[Residuals]:
        """Return what is left of each layer's two equations."""
        found, x = [], X
        for layer, xbar, y in zip(self.layers, state[::2], state[1::2], strict=True):
            found.append(Residuals(layer, x, xbar, y, layer.pull(x, xbar), layer.push(xbar, y)))
            x = y
        return found

    def settle(self, X: npt.ArrayLike, tol: float = 1e-6, *, method: str = "chebyshev") -> NetworkRest:
        """Run the whole system until every output is certified to be within `tol` of its rest.

        ::

            p ← α_k ż + ω_k p,    z ← z + p        (all x̄ and y at once)

        Parameters
        ----------
        X : (samples, features) array
            Inputs, constant in time.
        tol : float
            Largest ‖output − output*‖.
        method : {"chebyshev", "rk4"}
            ``"chebyshev"``: Euler steps scheduled for the rates of all layers, a tenth of the work; `time` is that of
            the schedule. ``"rk4"``: Runge–Kutta steps that follow the system, whose time is that of the hardware; also
            taken where the schedule does not settle.

        Returns
        -------
        NetworkRest
            Activity of every layer, and the bounds.

        Raises
        ------
        StabilityError
            If a layer's circuit is not stable.
        DivergenceError
            If rounding keeps the bound above the tolerance.
        """
        X, tol = self._inputs(X), _validation.positive(tol, "tol")
        if _validation.choice(method, "method", METHODS) == "chebyshev":
            found = self._scheduled(X, tol)
            if found is not None:
                return found
        slowest = max([self.tau_units, *(self.tau * layer.slowest for layer in self.layers)])
        dt, time, state = self._step, 0.0, self._start(len(X))
        bounds = self.bounds(X, state)
        while not (bounds[-1] <= tol).all():
            for _ in range(LOOK):
                state = self._advance(X, state, dt)
            time, before, bounds = time + LOOK * dt, bounds, self.bounds(X, state)
            if time > LONGEST * slowest or (time > 100 * slowest and (bounds[-1] >= before[-1]).all()):
                raise DivergenceError(
                    f"the network must rest to within {tol:g}; after {time:.3g} the bound is {bounds[-1].max():.3g} "
                    "and falls no more. Raise tol."
                )
        return NetworkRest(state[::2], state[1::2], bounds[-1], bounds, time)

    def _scheduled(self, X: Floats, tol: float) -> NetworkRest | None:
        """Settle by Chebyshev-scheduled Euler steps; None where they do not settle soon.

        Each layer is linear given what is below it, and nothing comes down: the schedule of all rates serves each, with
        some more steps for the errors that the layers below hand up.

        Reference: Golub & Varga (1961), Numerische Mathematik 3, 147–156.
        """
        rates = [layer.eigenvalues / self.tau for layer in self.layers]
        if min(values[0].real for values in rates) <= 0:
            return None  # the other method names the layer
        ellipse = enclosing_ellipse(np.concatenate([*rates, np.full(1, 1 / self.tau_units, complex)]))
        state = self._start(len(X))
        moved = [np.zeros_like(z) for z in state]
        start = float(self.bounds(X, state)[-1].max())
        most = min(CASCADE * len(self.layers) * ellipse.steps(max(start / tol, 2.0)), MOST_LAYER_STEPS)
        schedule = recurrence(ellipse, most)
        for k in range(most + 1):
            residuals = self._residuals(X, state)
            bounds = self._bounds(residuals)
            if (bounds[-1] <= tol).all():
                return NetworkRest(state[::2], state[1::2], bounds[-1], bounds, float(schedule_time(ellipse, k)))
            if not np.isfinite(bounds[-1]).all():
                break
            for z, p, r in zip(state, moved, self._velocities(residuals), strict=True):
                march_rows(schedule, k, np.ones(z.shape[1]), r, p, z)
        return None

    def integrate(
        self, X: npt.ArrayLike, t_end: float, times: npt.ArrayLike | None = None, *, rtol: float = 1e-8
    ) -> NetworkTrajectory:
        """Return the activity of all layers over time, from rest at zero.

        Parameters
        ----------
        X : (samples, features) array
            Inputs, constant in time.
        t_end : float
            End, in the unit of τ.
        times : (frames,) array, optional
            When to look, in [0, t_end], ascending; 101 equal steps by default.
        rtol : float
            Error of a step of the Dormand–Prince method, relative to the activity.

        Returns
        -------
        NetworkTrajectory
            x̄ and y of every layer at these times.
        """
        X, t_end = self._inputs(X), _validation.positive(t_end, "t_end", "unit of tau")
        frames = np.linspace(0, t_end, 101) if times is None else _validation.instants(times, "times", t_end)
        _validation.positive(rtol, "rtol")
        if t_end > MOST_STEPS * self._step:
            raise ConfigError(f"t_end must be at most {MOST_STEPS:.0e} steps of {self._step:.3g}; got {t_end:g}.")
        start = self._start(len(X))

        def slope(t: float, z: Floats) -> Floats:
            return _joined(self.velocity(X, _split(z, start)))

        done = solve_ivp(slope, (0.0, t_end), _joined(start), "RK45", frames, rtol=rtol, atol=1e-3 * rtol)
        if not done.success:
            raise DivergenceError(
                f"the network could not be integrated to {_validation.numeral(t_end)}: {done.message}"
            )
        states = [_split(z, start) for z in done.y.T]
        parts = [np.stack(part) for part in zip(*states, strict=True)]
        return NetworkTrajectory(done.t, parts[::2], parts[1::2])

    @property
    def _step(self) -> float:
        rates = [1 / self.tau_units, *(layer.fastest / self.tau for layer in self.layers)]
        return STRIDE / max(rates)

    def _advance(self, X: Floats, state: State, dt: float) -> State:
        """Return the state one step of the classical Runge–Kutta method later."""
        first = self.velocity(X, state)
        second = self.velocity(X, _moved(state, first, dt / 2))
        third = self.velocity(X, _moved(state, second, dt / 2))
        fourth = self.velocity(X, _moved(state, third, dt))
        sixths = zip(state, first, second, third, fourth, strict=True)
        return [z + (dt / 6) * (a + 2 * b + 2 * c + d) for z, a, b, c, d in sixths]

    def _start(self, samples: int) -> State:
        return [np.zeros((samples, size)) for layer in self.layers for size in reversed(layer.W.shape)]

    def _inputs(self, X: npt.ArrayLike) -> Floats:
        return _validation.samples(X, "X", self.layers[0].W.shape[1]).astype(float)


def network_circuit(
    layers: Sequence[WeightedLayer], inputs: tuple[int, ...], tau: float, tau_units: float
) -> NetworkCircuit:
    """Return the layers of a network as one system; see `NetworkCircuit`.

    Raises
    ------
    ConfigError
        If a layer is no dense one.
    """
    for index, layer in enumerate(layers):
        before = math.prod(layers[index - 1].shape if index else inputs)
        if len(layer.shape) > 1 or before != layer.W.shape[1]:
            raise ConfigError(
                f"a network is one system of ODEs if all its layers are dense; layer {index} with weights is not. "
                "Use forward, whose recurrent layers settle one after the other."
            )
    return NetworkCircuit(tuple(_layer_circuit(layer) for layer in layers), tau, tau_units)


def _layer_circuit(layer: WeightedLayer) -> LayerCircuit:
    own = layer.decorrelator
    feed, lateral = (None if part is None else as_numpy(part).astype(float) for part in own.as_ode())
    W, b = as_numpy(layer.W).astype(float), as_numpy(layer.b).astype(float)
    # The drive of a silent input is −μ, or 0 where the plan subtracts nothing.
    mean = -as_numpy(own.centre(array_namespace(layer.W).zeros_like(layer.W[:1, :]), False))[0].astype(float)
    return LayerCircuit(feed, lateral, mean, W, b, layer.activation)


def _largest(A: Floats) -> float:
    return float(np.linalg.norm(A, 2)) * (1 + 1e-12)


def _moved(state: State, velocity: State, dt: float) -> State:
    return [z + dt * v for z, v in zip(state, velocity, strict=True)]


def _joined(state: State) -> Floats:
    return np.concatenate([z.ravel() for z in state])


def _split(z: Floats, like: State) -> State:
    cuts = np.cumsum([part.size for part in like])[:-1]
    return [part.reshape(own.shape) for part, own in zip(np.split(z, cuts), like, strict=True)]
