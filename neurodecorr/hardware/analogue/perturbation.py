"""The error of all sources at once: chips as they are on average, and how far chips spread around that one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.special

from neurodecorr._typing import Floats
from neurodecorr._validation import square
from neurodecorr.circuit.stability import is_stable
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.equations import Form, ResistorNetwork, rest_system, wired
from neurodecorr.hardware.devices import Converter, Devices, map_to_conductances
from neurodecorr.hardware.devices.drift import power_law
from neurodecorr.hardware.devices.pairs import Pair

# Abscissae for means over normal exponents of drift.
NODES = 40
SOURCES = ("bits", "programming", "mismatch", "stuck", "drift", "read noise", "wires")


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and variance of the error of the weights.

    ::

        B_ij = E[δW_ij],    V_ij = Var[δW_ij],    and Var[δW_ij] = V_ij + s_j with s_j common to all rows

    Parameters
    ----------
    bias : (n, n) array
        B, in the unit of the weights.
    variance : (n, n) array
        V, from devices that one weight has for itself.
    shared : (n,) array
        s, from the reference device that a column shares; 0 with two sides.
    plus, minus : (n, n) array
        Mean conductances that act between columns and rows, in the unit of the weights.
    fine : bool, default True
        Whether levels lie close enough for their rounding to look random: at least half of the weights that it moves
        are half a level or more in size.
    """

    bias: Floats
    variance: Floats
    shared: Floats
    plus: Floats
    minus: Floats
    fine: bool = True

    def __repr__(self) -> str:
        return f"Moments(n={len(self.bias)}, fine={self.fine})"


def sources(devices: Devices) -> Iterator[tuple[str, Devices]]:
    """Yield the imperfections of these devices, one at a time.

    Parameters
    ----------
    devices : Devices
        All of it.

    Yields
    ------
    str, Devices
        Name of the source, and the devices with this source only.
    """
    clean = replace(
        devices, bits=None, codes=None, programming=None, mismatch=0.0, stuck_on=0.0, stuck_off=0.0,
        drift=None, read_noise=None, wire_resistance_ohm=0.0, dac=None, adc=None,
    )  # fmt: skip
    fields = {
        "bits": ("bits", "codes"),
        "programming": ("programming",),
        "mismatch": ("mismatch",),
        "stuck": ("stuck_on", "stuck_off"),
        "drift": ("drift",),
        "read noise": ("read_noise",),
        "wires": ("wire_resistance_ohm",),
    }
    for name in SOURCES:
        values = {field: getattr(devices, field) for field in fields[name]}
        if any(values.values()):
            yield name, replace(clean, **values)


def weight_moments(weights: npt.ArrayLike, devices: Devices, time_s: float = 0.0, as_made: bool = False) -> Moments:
    """Return mean and variance of the error of programmed weights, over chips.

    ::

        levels:  V_ij = Δ²/12 for every device off the end of its range and no reference,    Δ = level step / s
        others:  E[G], E[G²] through  programming → mismatch → drift → stuck → read noise;    wires by the nodal solve

    The error of rounding to levels is taken as uniform; for weights known beforehand it is in truth a number each. So
    its share holds where many weights are spread over several levels. Where most are smaller than half a level they
    become 0, all in one direction: then it is too small, or too large, by half (`Moments.fine`).

    Parameters
    ----------
    weights : (n, n) array
        R or M as meant.
    devices : Devices
        What they are programmed into.
    time_s : float, default 0
        Seconds since programming.
    as_made : bool, default False
        Round these very weights to levels, in B, instead of Δ²/12 in V.

    Returns
    -------
    Moments

    References
    ----------
    Widrow and Kollár, Quantization Noise, §4 (Δ²/12).
    """
    W = square(weights, "weights").astype(np.float64)
    made = devices.map(W)
    reference = None if made.sides == "two" else float(made.minus[0, 0])
    free = map_to_conductances(W, devices.g_min, devices.g_max, made.sides, made.scale, reference)
    # Levels as they are, or their mean over all positions of the grid, which is Δ²/12 around the unrounded weight.
    target = made if as_made else free
    means, variances = zip(*(device_moments(G, devices, time_s) for G in (target.plus, target.minus)), strict=True)
    plus, minus = wired(means[0], means[1], devices.wire_resistance_ohm)
    own, other = (
        _behind_wires(*parts) / target.scale**2
        for parts in ((variances[0], means[0], plus), (variances[1], means[1], minus))
    )
    moved, step, one = _moved(W, free), devices.weight_step(made.scale), target.sides == "one"
    levels = 0.0 if as_made else step**2 / 12 * moved
    return Moments(
        bias=(plus - minus) / target.scale - W,
        variance=levels + (own if one else own + other),
        shared=other.mean(axis=0) if one else np.zeros(len(W)),
        plus=plus / target.scale,
        minus=minus / target.scale,
        fine=not moved.any() or float(np.median(np.abs(W[moved]))) >= step / 2,
    )


def _behind_wires(variance: Floats, mean: Floats, acting: Floats) -> Floats:
    """Return the variance of what acts: of resistors in series, dG_eff/dG = (G_eff/G)²."""
    left = np.divide(acting, mean, out=np.ones_like(acting), where=mean > 0)
    return np.asarray(variance * left**4)


def device_moments(G: Floats, devices: Devices, time_s: float = 0.0) -> tuple[Floats, Floats]:
    """Return mean and variance of conductances over chips, in siemens and siemens².

    ::

        E[max(m + σξ, 0)] = m Φ(m/σ) + σ φ(m/σ),    E[max(m + σξ, 0)²] = (m² + σ²) Φ(m/σ) + m σ φ(m/σ)

    Means over drift exponents by Gauss–Hermite quadrature.

    Parameters
    ----------
    G : array
        Targets.
    devices : Devices
        What goes wrong; levels are left out.
    time_s : float, default 0
        Seconds since programming.

    Returns
    -------
    mean, variance : array

    References
    ----------
    Golub & Welsch (1969), Mathematics of Computation 23, 221–230 (quadrature).
    """
    # E[G] and E[G²] step by step: independent factors multiply both moments, so no joint distribution is needed.
    first, second = G, G**2
    if devices.programming is not None:
        first, second = _clipped(G, devices.programming.sigma(G, devices.g_max))
    written = second
    if devices.mismatch:
        one, two = _clipped(np.ones(()), np.full((), devices.mismatch))
        first, second = first * one, second * two
    if devices.drift is not None and time_s > 0:
        one, two = _drifted(G, devices, time_s)
        first, second = first * one, second * two
    on, off = devices.stuck_on, devices.stuck_off
    if on or off:
        first = (1 - on - off) * first + on * devices.g_max + off * devices.g_min
        second = (1 - on - off) * second + on * devices.g_max**2 + off * devices.g_min**2
    # A difference of nearly equal numbers may round below 0 where nothing varies.
    variance = np.maximum(second - first**2, 0.0)
    if devices.read_noise is not None:
        sigma = devices.read_noise.sigma(np.sqrt(second), np.sqrt(written), devices.g_max, time_s)
        variance = variance + sigma**2
    return first, variance


def _moved(W: Floats, target: Pair) -> npt.NDArray[np.bool_]:
    """Return where rounding can move a weight: off 0 and the ends of the range, which are levels, as references are."""
    ends = (1 - 1e-12) * target.g_max
    devices = (target.plus, target.minus) if target.sides == "two" else (target.plus,)
    return np.asarray((W != 0) & np.any([(target.g_min < G) & (ends > G) for G in devices], axis=0))


def _clipped(mean: Floats, sigma: Floats) -> tuple[Floats, Floats]:
    """Return the first two moments of a normal variable cut off at 0."""
    # Where σ = 0 the limit is exact and taken below; 1 only avoids the division.
    safe = np.where(sigma > 0, sigma, 1.0)
    u = mean / safe
    above, density = scipy.special.ndtr(u), np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    first = np.where(sigma > 0, mean * above + sigma * density, np.maximum(mean, 0.0))
    second = np.where(sigma > 0, (mean**2 + sigma**2) * above + mean * sigma * density, first**2)
    return first, second


def _drifted(G: Floats, devices: Devices, time_s: float) -> tuple[Floats, Floats]:
    """Return the first two moments of what is left of each conductance."""
    assert devices.drift is not None
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    # Weights of numpy belong to e^(−z²/2); divided by their sum √(2π) they are those of N(0, 1).
    weights = weights / weights.sum()
    first, second = np.zeros_like(G), np.zeros_like(G)
    for node, weight in zip(nodes, weights, strict=True):
        exponents = devices.drift.exponents(G, devices.g_max, np.full_like(G, node))
        left = power_law(exponents, time_s, devices.drift.t0_s)
        first, second = first + weight * left, second + weight * left**2
    return first, second


# Inputs that the second order is averaged over.
SAMPLES = 32


def first_order(
    M: Floats, variance: Floats, Xbar: Floats, bias: Floats | None = None, shared: Floats | None = None
) -> float:
    """Return the mean square error of the outputs, to first order in the errors of R.

    ::

        δx̄ = −M δR x̄:    mean_i [ Σ_jk M_ij² V_jk x̄_k² + (M B x̄)_i² + (∑_j M_ij)² ∑_k s_k x̄_k² ]

    averaged over the samples. With V_jk = σ² R_jk² the root is the rms of mismatch, √mean((M∘M)(σR∘σR)(x̄∘x̄)). In an
    open loop, where M itself is off, pass the identity for `M` and the inputs for `Xbar`.

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors.
    bias : (n, n) array, optional
        B of `Moments`.
    shared : (n,) array, optional
        s of `Moments`.

    Returns
    -------
    float

    References
    ----------
    Higham (2002), Accuracy and Stability of Numerical Algorithms, 2nd edition, §7 (perturbation of linear systems).
    """
    power = (Xbar**2).mean(axis=0)
    total = float(((M**2) @ (variance @ power)).mean())
    if bias is not None:
        total += float(((Xbar @ bias.T @ M.T) ** 2).mean())
    if shared is not None:
        total += float((M.sum(axis=1) ** 2).mean() * (shared @ power))
    return total


def strain(M: Floats, variance: Floats) -> float:
    """Return how much a further order of the expansion adds to the mean square, relative to the one before.

    ::

        ρ((M∘M) V),    ρ the spectral radius

    Above 1 the mean square over chips has no finite expansion; chips near singular decide it.

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.

    Returns
    -------
    float
    """
    return float(np.abs(np.linalg.eigvals((M**2) @ variance)).max())


def second_order(M: Floats, variance: Floats, Xbar: Floats) -> float:
    """Return the mean square error of the outputs, to second order in independent normal errors of R.

    ::

        δx̄ = (−MD + MDMD − MDMDMD) x̄,    E‖δx̄‖² to order V², by Wick's theorem:
        (M∘M)V(x̄∘x̄) + (M∘M)V(M∘M)V(x̄∘x̄) + (M W x̄)² + 3 diag(M (Q∘Qᵀ) Mᵀ)
          + 2 (M∘M)(V∘(x̄ ∘ M W x̄)) + 2 (M ∘ M W M) V (x̄∘x̄),    W = V∘Mᵀ,  Q = V diag(x̄) M

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors; what the second order adds is averaged over at most 32 of them.

    Returns
    -------
    float

    References
    ----------
    Isserlis (1918), Biometrika 12, 134–139 (products of normal variables).
    """
    if not variance.any():
        return 0.0
    squares, W = M**2, variance * M.T
    rows = Xbar[:: max(1, len(Xbar) // SAMPLES)][:SAMPLES]
    energy, shifted = rows**2 @ variance.T, rows @ W.T @ M.T
    total = energy @ squares.T + (energy @ squares.T) @ variance.T @ squares.T + shifted**2
    total += 2 * ((rows * shifted) @ variance.T) @ squares.T + 2 * energy @ (M * (M @ W @ M)).T
    crossed = np.empty_like(total)
    for k, x in enumerate(rows):
        Q = (variance * x) @ M
        # Q depends on the sample: this is the product of order n³ that limits the number of samples.
        crossed[k] = np.einsum("ia,ac,ic->i", M, Q * Q.T, M, optimize=True)
    # What the orders add is averaged over fewer samples than the first order itself.
    return first_order(M, variance, Xbar) * float((total + 3 * crossed).mean() / (energy @ squares.T).mean())


def shared_order(M: Floats, shared: Floats, Xbar: Floats) -> float:
    """Return the mean square error of the outputs, to second order in errors that all rows of a column share.

    ::

        δR = 1 εᵀ, Var[ε] = s:    δx̄ = −u a/(1 + c),    u = M 1,  a = ε·x̄,  c = ε·u
        E‖δx̄‖² = ‖u‖² (⟨a²⟩ + 3⟨a²⟩⟨c²⟩ + 6⟨ac⟩²)

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    shared : (n,) array
        s of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors.

    Returns
    -------
    float

    References
    ----------
    Isserlis (1918), Biometrika 12, 134–139 (products of normal variables).
    """
    u = M.sum(axis=1)
    power, cross = Xbar**2 @ shared, Xbar @ (shared * u)
    return float((u**2).mean() * (power + 3 * power * (shared @ u**2) + 6 * cross**2).mean())


def shared_strain(M: Floats, shared: Floats) -> float:
    """Return the strain of errors that all rows of a column share.

    ::

        ⟨c²⟩ = ∑_k s_k u_k²,    u = M 1
    """
    return float(shared @ M.sum(axis=1) ** 2)


def mean_shift(M: Floats, variance: Floats, shared: Floats, Xbar: Floats) -> Floats:
    """Return by how much errors without a mean of their own shift the mean output, to second order.

    ::

        E[δx̄] = E[M D M D] x̄ = M (V∘Mᵀ) x̄ + M1 ((s∘M1)·x̄)

    Parameters
    ----------
    M : (n, n) array
        R⁻¹.
    variance : (n, n) array
        V of `Moments`.
    shared : (n,) array
        s of `Moments`.
    Xbar : (samples, n) array
        Outputs without errors.

    Returns
    -------
    (samples, n) array
    """
    u = M.sum(axis=1)
    return np.asarray(Xbar @ (M @ (variance * M.T)).T + np.outer(Xbar @ (shared * u), u))


@dataclass(frozen=True)
class Joint:
    """Error of all sources together, and the strain of its expansion.

    Parameters
    ----------
    error : float
        Relative rms error of the outputs, to second order in what differs from chip to chip.
    strain : float
        How much each further order adds, relative to the one before, in the mean square; infinite where the mean chip
        does not settle.
    clips : bool, default False
        Whether the ADC cuts off what spreads: more than one output in a hundred, at two standard deviations.
    """

    error: float
    strain: float
    clips: bool = False


def joint_error(
    moments: Moments,
    devices: Devices,
    amplifier: Amplifier,
    X: Floats,
    ideal: Floats,
    form: Form,
    volts_per_unit: float,
    as_made: bool = False,
) -> Joint:
    """Return the error of all sources together.

    ::

        A = E[A] of `rest_system`, the mean chip:    o = A⁻¹ B x,    error² = mean (o − x̄)² + spread
        spread: `spread_second` in V and the shared references around A, and offsets and converters, all through A⁻¹

    Means of several sources add before they are squared, and what spreads is passed on by the chip that is left when
    all means have shifted: after an hour of drift its M is larger than the M that was meant. Nothing is expanded in the
    means, nor in the gain. An open loop is linear in its weights, so that its error is exact.

    Parameters
    ----------
    moments : Moments
        Of all that goes wrong with the devices; `as_made` if this is.
    devices : Devices
        Whose converters stand at the door.
    amplifier : Amplifier
        What all amplifiers have in common.
    X : (samples, n) array
        Inputs.
    ideal : (samples, n) array
        Outputs as meant, x̄.
    form : {"closed", "open"}
        Whether the weights are R or M.
    volts_per_unit : float
        Volts that stand for one unit of x and x̄.
    as_made : bool, default False
        Take the errors that DAC and ADC make of these very inputs and outputs, in place of Δ²/12.

    Returns
    -------
    Joint
    """
    closed, n = form == "closed", len(moments.bias)
    x = X
    if as_made and devices.dac is not None:
        x = devices.dac(volts_per_unit * X) / volts_per_unit
    network = ResistorNetwork(moments.plus, moments.minus, np.zeros(n), np.zeros(n), amplifier, math.inf, np.ones(n))
    A, _, B = rest_system(network, closed)
    if closed and not is_stable(A):
        return Joint(math.inf, math.inf)
    through = np.linalg.inv(A)
    outputs = x @ B.T @ through.T
    if closed:
        spread, load = spread_second(through, moments.variance, moments.shared, outputs, ideal)
    else:
        spread, load = first_order(through, moments.variance, x, shared=moments.shared), 0.0
    volts = amplifier.offset_v**2 * offset_reach(through, network)
    clips = False
    if as_made and devices.adc is not None:
        reach = np.abs(outputs) + 2 * math.sqrt(max(spread, 0.0))
        clips = bool((volts_per_unit * reach > devices.adc.bound).mean() > 0.01)
        outputs = devices.adc(volts_per_unit * outputs) / volts_per_unit
    if not as_made:
        volts += steps(devices.dac, through @ B) + steps(devices.adc, np.eye(n))
    total = float(((outputs - ideal) ** 2).mean()) + spread + volts / volts_per_unit**2
    return Joint(math.sqrt(max(total, 0.0) / float((ideal**2).mean())), load, clips)


def offset_reach(through: Floats, network: ResistorNetwork) -> float:
    """Return the mean square of the outputs per square of offset, of amplifiers and of inverters.

    ::

        mean_i [(T∘T)(t∘t) + (2hTN ∘ 2hTN) 1]_i,    T the map from summing nodes to outputs
    """
    inverters = 2 * network.amplifier.inversion * through @ network.N
    return float((through**2 @ network.load**2 + (inverters**2).sum(axis=1)).mean())


def steps(converter: Converter | None, reach: Floats) -> float:
    """Return the mean square, in volts², of rounding to the steps of a converter: Δ²/12 through what follows.

    References
    ----------
    Widrow & Kollár (2008), Quantization Noise, §4 (Δ²/12).
    """
    return 0.0 if converter is None else converter.step**2 / 12 * float((reach**2).sum(axis=1).mean())


def spread_second(M: Floats, variance: Floats, shared: Floats, outputs: Floats, ideal: Floats) -> tuple[float, float]:
    """Return the mean square error that spread adds around the mean chip, and the strain.

    ::

        E‖δ‖² + 2 (o − x̄)·E[δ],    o the outputs of the mean chip, δ what a chip adds to them

    Spread also shifts the mean, and that adds to the shift which is there already.
    """
    shifts = mean_shift(M, variance, shared, outputs)
    spread = second_order(M, variance, outputs) + shared_order(M, shared, outputs)
    return (
        spread + 2 * float(((outputs - ideal) * shifts).mean()),
        strain(M, variance) + shared_strain(M, shared),
    )
