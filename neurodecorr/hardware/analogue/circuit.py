"""One analogue circuit in siemens, farads, volts and seconds: R inside a loop, or M in front of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr import _validation
from neurodecorr._texts import short_repr
from neurodecorr._typing import Floats
from neurodecorr.circuit import Circuit, PiecewiseConstant, Stability, integrate, stability
from neurodecorr.errors import ConfigError
from neurodecorr.hardware.analogue.amplifier import Amplifier
from neurodecorr.hardware.analogue.equations import (
    Form,
    Loop,
    ResistorNetwork,
    array_conductances,
    checked_form,
    closed_loop,
    open_loop,
    require_settling,
    rest_system,
    unit_volts,
    wire_parts,
    wired,
)
from neurodecorr.hardware.analogue.results import Energy, RestingState, Waveforms, array_power, bias_power, share
from neurodecorr.hardware.analogue.saturation import inverters, outputs, outputs_at_rails, rest_at_rails, summing_nodes
from neurodecorr.hardware.devices import Converter, Devices
from neurodecorr.hardware.devices.converters import converter
from neurodecorr.hardware.devices.pairs import SIDES, Sides

# Between the times asked for, the amplifiers are looked at this often for leaving their swing.
LOOKS = 1000


@short_repr
@dataclass(frozen=True, eq=False)
class AnalogueCircuit:
    """Conductances, capacitors and amplifiers that settle at x̄ = R⁻¹x, or give x̄ = M x at once.

    ::

        closed loop:  C dv_i/dt = G₀ x_i − ∑_j (G⁺_ij − G⁻_ij) v_j,    τ = C/G₀,    R = (G⁺ − G⁻)/G₀
        open loop:    v_i = ∑_j (G⁺_ij − G⁻_ij) x_j / G₀,              M = (G⁺ − G⁻)/G₀

    with ideal amplifiers. In the closed loop each unit is an integrator: its capacitor bridges the amplifier, its
    inverting input gathers the currents of G⁺ from the outputs v, of G⁻ from inverters that give −v, and of G₀ from
    the input −x. In the open loop each unit is an amplifier with G₀ as feedback, and the inverters give the inputs'
    other sign. Both need 2n amplifiers. `equations` says what finite gain, bandwidth and offset do.

    Parameters
    ----------
    plus, minus : (n, n) array
        G⁺ and G⁻ in siemens; row is the receiving unit.
    unit_siemens : float
        G₀, siemens per unit of weight.
    capacitance_f : float
        C in farads. The open loop has none; there C/G₀ is the unit of time only.
    amplifier : Amplifier
        What all amplifiers have in common.
    offsets_v, inverter_offsets_v : (n,) array, optional
        Input offset of each amplifier, in volts; zero by default.
    volts_per_unit : float, default 0.1
        Volts that stand for one unit of x and x̄.
    dac, adc : Converter, optional
        At the door, in volts.
    form : {"closed", "open"}
        Whether the conductances hold R or M.
    sides : {"two", "one"}
        Whether each row has devices of its own for G⁻, or all share one line of them.

    Raises
    ------
    InputError
        If the conductances are no square matrices of one size, negative, or above 1 S.
    ConfigError
        If a value lies outside its range.

    Examples
    --------
    >>> from neurodecorr.hardware.analogue.amplifier import Amplifier
    >>> chip = AnalogueCircuit.build([[2.0, 1.0], [1.0, 2.0]], tau_s=1e-6)
    >>> chip.settle([3.0, 3.0]).xbar.round(12).tolist()
    [1.0, 1.0]
    >>> real = AnalogueCircuit.build([[2.0, 1.0], [1.0, 2.0]], amplifier=Amplifier(gain=1000.0), tau_s=1e-6)
    >>> real.settle([3.0, 3.0]).xbar.round(4).tolist()
    [0.9987, 0.9987]

    References
    ----------
    Sun et al., "Solving matrix equations in one step with cross-point resistive arrays", PNAS 116(10):4123 (2019).
    """

    plus: Floats
    minus: Floats
    unit_siemens: float
    capacitance_f: float
    amplifier: Amplifier = field(default_factory=Amplifier)
    offsets_v: Floats | None = None
    inverter_offsets_v: Floats | None = None
    volts_per_unit: float = 0.1
    dac: Converter | None = None
    adc: Converter | None = None
    form: Form = "closed"
    sides: Sides = "two"

    def __post_init__(self) -> None:
        plus, minus = array_conductances(self.plus, self.minus, _validation.choice(self.sides, "sides", SIDES))
        made: dict[str, Any] = {
            "plus": plus,
            "minus": minus,
            "volts_per_unit": unit_volts(self.volts_per_unit),
        }
        units = {"unit_siemens": "siemens", "capacitance_f": "farads"}
        made |= {k: _validation.positive(getattr(self, k), k, unit) for k, unit in units.items()}
        made |= {
            k: np.zeros(len(plus)) if getattr(self, k) is None else _validation.vector(getattr(self, k), k, len(plus))
            for k in ("offsets_v", "inverter_offsets_v")
        }
        self.__dict__.update(made)
        _validation.instance(self.amplifier, Amplifier, "amplifier")
        converter(self.dac, "dac"), converter(self.adc, "adc")
        checked_form(self.form)

    def __repr__(self) -> str:
        return f"AnalogueCircuit(n={len(self.plus)}, form={self.form!r}, tau_s={self.tau_s:g})"

    @classmethod
    def build(
        cls,
        weights: npt.ArrayLike | Circuit,
        devices: Devices | None = None,
        amplifier: Amplifier | None = None,
        rng: int | np.random.Generator = 0,
        *,
        form: Form = "closed",
        tau_s: float | None = None,
        volts_per_unit: float = 0.1,
        time_s: float = 0.0,
    ) -> AnalogueCircuit:
        """Manufacture one chip: devices are programmed, offsets are drawn.

        Parameters
        ----------
        weights : Circuit or (n, n) array
            R for the closed loop, M for the open loop.
        devices : Devices, optional
            Ideal ones by default. Their converters stand at the door.
        amplifier : Amplifier, optional
            Ideal by default.
        rng : int or numpy.random.Generator, default 0
            Which chip. Devices and offsets have streams of their own.
        form : {"closed", "open"}
            Whether the weights are R or M.
        tau_s : float, optional
            τ in seconds; that of the circuit, taken as seconds, by default, and 1 for a matrix. C = τ G₀.
        volts_per_unit : float, default 0.1
            Volts that stand for one unit of x and x̄.
        time_s : float, default 0
            Seconds since programming, for devices that drift.

        Returns
        -------
        AnalogueCircuit
        """
        W = _validation.square(weights.R if isinstance(weights, Circuit) else weights, "weights").astype(np.float64)
        if tau_s is None:
            tau_s = weights.tau if isinstance(weights, Circuit) else 1.0
        made, amplifier = wire_parts(devices, amplifier)
        for_devices, for_offsets, for_reading = _validation.generator(rng, "rng").spawn(3)
        pair = made.program(W, for_devices).pair(time_s, for_reading)
        plus, minus = wired(pair.plus, pair.minus, made.wire_resistance_ohm)
        normals = for_offsets.standard_normal((2, len(W)))
        return cls(
            plus,
            minus,
            unit_siemens=pair.scale,
            capacitance_f=_validation.positive(tau_s, "tau_s", "seconds") * pair.scale,
            amplifier=amplifier,
            offsets_v=amplifier.offset_v * normals[0],
            inverter_offsets_v=amplifier.offset_v * normals[1],
            volts_per_unit=volts_per_unit,
            dac=made.dac,
            adc=made.adc,
            form=form,
            sides=made.sides,
        )

    @property
    def tau_s(self) -> float:
        """Time constant τ = C/G₀, in seconds."""
        return self.capacitance_f / self.unit_siemens

    @property
    def weights(self) -> Floats:
        """Weights that the conductances are, (G⁺ − G⁻)/G₀, (n, n)."""
        return np.asarray((self.plus - self.minus) / self.unit_siemens)

    @cached_property
    def network(self) -> ResistorNetwork:
        """The circuit without units."""
        G0, speed = self.unit_siemens, self.amplifier.rate * self.tau_s
        assert self.offsets_v is not None and self.inverter_offsets_v is not None
        P, N, rates = self.plus / G0, self.minus / G0, np.ones(len(self.plus))
        return ResistorNetwork(P, N, self.offsets_v, self.inverter_offsets_v, self.amplifier, speed, rates)

    @cached_property
    def loop(self) -> Loop:
        """The circuit as a linear system in volts, amplifiers included, for the integrators of the core.

        Raises
        ------
        ConfigError
            If an open loop has amplifiers of infinite bandwidth: it gives its answer at once.
        """
        if self.form == "closed":
            return closed_loop(self.network, self.tau_s)
        if np.isinf(self.amplifier.bandwidth_hz):
            raise ConfigError(
                "amplifier must have a finite bandwidth_hz for an open loop to take time; got inf. Use settle(): with "
                "an infinite bandwidth it answers at once."
            )
        return open_loop(self.network, self.tau_s)

    def settle(self, X: npt.ArrayLike) -> RestingState:
        """Return the rest point for each input, with finite gain, offsets and converters.

        ::

            A o = B x + b    (`equations.rest_system`), where no amplifier sits at a rail

        Where one does, the closed loop is integrated until it rests.

        Parameters
        ----------
        X : (n,) or (samples, n) array
            Inputs x less their mean, in their unit.

        Returns
        -------
        RestingState

        Raises
        ------
        StabilityError
            If the closed loop is unstable: it goes to the rails, or away.
        DivergenceError
            If it does not come to rest at its rails.
        """
        rows, single = _validation.sample_or_samples(X, "X", len(self.plus))
        if self.form == "closed":
            require_settling(self.loop)
        x = self._driven(rows)
        o = self._linear_rest(x)
        saturated = self._beyond(o, x)
        if saturated.any():
            o[saturated] = self._at_rails(x[saturated])
        read = o if self.adc is None else self.adc(o)
        xbar = read / self.volts_per_unit
        return RestingState(xbar[0], o[0], bool(saturated[0])) if single else RestingState(xbar, o, saturated)

    def integrate(
        self,
        x: npt.ArrayLike | PiecewiseConstant | Callable[[float], npt.ArrayLike],
        t_end_s: float,
        times_s: npt.ArrayLike | None = None,
        *,
        initial: npt.ArrayLike | None = None,
        method: str | None = None,
    ) -> Waveforms:
        """Return the outputs over time.

        Linear as long as no amplifier meets its rail: then the integrators of `neurodecorr.circuit` run the circuit,
        its amplifiers included. Where one does, the closed loop is integrated piece by piece.

        Parameters
        ----------
        x : (n,) or (samples, n) array, PiecewiseConstant, or function of seconds
            Inputs x less their mean, in their unit. A function and rails together take a single input.
        t_end_s : float
            End in seconds.
        times_s : (times,) array, optional
            Times in seconds; 101 equally spaced ones by default.
        initial : (n,) or (samples, n) array, optional
            Outputs at t = 0 in the unit of the input; 0 by default.
        method : str, optional
            As in `neurodecorr.integrate`; exact for inputs that are constant from switch to switch, adaptive for
            functions by default.

        Returns
        -------
        Waveforms

        Raises
        ------
        StabilityError
            If the closed loop is unstable.
        ConfigError
            If an open loop has ideal amplifiers, or leaves its swing.
        """
        drive, t = self._waveform(x), _instants(times_s, t_end_s)
        start = None if initial is None else self.volts_per_unit * _validation.real_array(initial, "initial")
        if method is None:
            method = "rk45" if callable(x) else "exponential"
        found = integrate(self.loop, drive, t_end_s, method, t, initial=start)
        volts, inverted = found.xbar, self._inverted(found.state, found.xbar)
        swing = self.amplifier.swing_v
        saturated = max(np.abs(volts).max(), np.abs(inverted).max()) > swing
        if not saturated and np.isfinite(swing):
            looks = integrate(self.loop, drive, t_end_s, method, np.linspace(0, t_end_s, LOOKS), initial=start)
            saturated = max(np.abs(looks.xbar).max(), np.abs(self._inverted(looks.state, looks.xbar)).max()) > swing
        if saturated:
            volts = self._railed(drive, t, start)
        return Waveforms(t, volts, volts / self.volts_per_unit, bool(saturated))

    def stability(self) -> Stability:
        """Return margin and modes of the circuit with its amplifiers, per τ.

        ::

            margin = min Re λ(F) of the enlarged state (o, q, w);    first order in 1/r:
            F ≈ (I − (diag(t) + 2N − R)/r) R,    r = 2π GBW τ

        A mode that turns, |Im λ| ≫ Re λ, loses about |Im λ|²/r of its margin, and 2N R/r takes more: amplifiers that
        are too slow make a stable R oscillate.

        Returns
        -------
        Stability
        """
        return stability(self.loop)

    def energy(self, X: npt.ArrayLike, accuracy: float = 1e-3) -> Energy:
        """Return what it costs to settle to an accuracy, see `Energy`.

        Parameters
        ----------
        X : (n,) or (samples, n) array
            Inputs x less their mean, in their unit.
        accuracy : float, default 1e-3
            Share of the distance to rest that is left, by the slowest mode.

        Returns
        -------
        Energy
        """
        rows, _ = _validation.sample_or_samples(X, "X", len(self.plus))
        x = self._driven(rows)
        o = self.settle(rows).volts
        e = summing_nodes(self.network, o, x, self.form == "closed")
        a, b, d = (o, inverters(self.network, o), -x) if self.form == "closed" else (-x, inverters(self.network, -x), o)
        ideal = self.form == "open" and np.isinf(self.amplifier.bandwidth_hz)
        time = 0.0 if ideal else self.stability().settling_time(share(accuracy)) * self.tau_s
        heat = array_power(self.plus, self.minus, self.unit_siemens, (a, b, d, e))
        n, lines = len(self.plus), 2 * len(self.plus) if self.sides == "two" else len(self.plus) + 1
        return Energy(heat, bias_power(self.amplifier, 2 * n), time, lines * n, 2 * n)

    def _driven(self, X: Floats) -> Floats:
        x = self.volts_per_unit * X.astype(np.float64, copy=False)
        return x if self.dac is None else self.dac(x)

    def _waveform(self, x: Any) -> Any:
        if isinstance(x, PiecewiseConstant):
            return PiecewiseConstant(x.times, self._driven(x.values))
        if callable(x):
            return lambda t: self._driven(np.asarray(x(t), np.float64))
        rows = _validation.real_array(x, "x")
        return self._driven(_validation.sample_or_samples(rows, "x", len(self.plus))[0] if rows.ndim > 1 else rows)

    def _linear_rest(self, x: Floats) -> Floats:
        A, b, B = rest_system(self.network, self.form == "closed")
        return np.asarray(np.linalg.solve(A, (x @ B.T + b).T).T)

    def _inverted(self, state: Floats, o: Floats) -> Floats:
        """Return what the inverters give along a trajectory."""
        n = len(self.plus)
        return (
            state[..., -n:]
            if state.shape[-1] > n
            else self.amplifier.inversion * (2 * self.network.inverter_offsets - o)
        )

    def _beyond(self, o: Floats, x: Floats) -> npt.NDArray[np.bool_]:
        swing, h = self.amplifier.swing_v, self.amplifier.inversion
        w = h * (2 * self.network.inverter_offsets - (o if self.form == "closed" else -x))
        return np.asarray((np.abs(o) > swing).any(axis=1) | (np.abs(w) > swing).any(axis=1))

    def _at_rails(self, x: Floats) -> Floats:
        if self.form == "closed":
            return outputs(self.network, np.array([rest_at_rails(self.network, row) for row in x]))[0]
        network, swing = self.network, self.amplifier.swing_v
        gathered = x @ network.P.T - inverters(self.network, -x) @ network.N.T + network.load * network.offsets
        # The sign of w: inverters give +x here, and N takes it off.
        return np.clip(gathered / (1 + network.load * self.amplifier.leak), -swing, swing)

    def _railed(self, drive: Any, t: Floats, start: Floats | None) -> Floats:
        if self.form == "open":
            raise ConfigError(
                f"an open loop must stay within its swing of ± {self.amplifier.swing_v:g} V to be integrated; it does "
                "not. Use settle(), or smaller inputs (volts_per_unit)."
            )
        begin = np.zeros((1, len(self.plus))) if start is None else np.atleast_2d(start)
        return outputs_at_rails(self.network, drive, t, begin, self.tau_s)


def _instants(times_s: npt.ArrayLike | None, t_end_s: float) -> Floats:
    end = _validation.positive(t_end_s, "t_end_s", "seconds")
    return np.linspace(0.0, end, 101) if times_s is None else _validation.instants(times_s, "times_s", end, "t_end_s")
