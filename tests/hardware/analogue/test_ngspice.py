"""A program we did not write agrees: the closed loop with real amplifiers as a netlist of plain parts."""

import math
import shutil
import subprocess

import numpy as np
import pytest

from neurodecorr.hardware.analogue import Amplifier, AnalogueCircuit
from neurodecorr.hardware.devices import Devices

pytestmark = pytest.mark.skipif(
    shutil.which("ngspice") is None, reason="needs ngspice: apt-get install ngspice, or brew install ngspice"
)


def amplifier(name, plus, minus, out, amp):
    """Lines of an amplifier: gain, one pole at GBW/A₀ where the bandwidth is finite, and a buffer."""
    if math.isinf(amp.bandwidth_hz):
        return [f"E{name} {out} 0 {plus} {minus} {amp.gain:.17g}"]
    pole = amp.gain / (2 * math.pi * amp.bandwidth_hz)  # R = 1 Ω
    return [
        f"G{name} 0 {name}p {plus} {minus} {amp.gain:.17g}",
        f"R{name}p {name}p 0 1",
        f"C{name}p {name}p 0 {pole:.17g}",
        f"E{name} {out} 0 {name}p 0 1",
    ]


def netlist(chip, x, analysis):
    n, amp = len(chip.plus), chip.amplifier
    lines = ["a closed loop of integrators and inverters"]
    for i in range(n):
        lines += [f"Vx{i} x{i} 0 {-chip.volts_per_unit * x[i]:.17g}", f"Vo{i} p{i} 0 {chip.offsets_v[i]:.17g}"]
        lines += [f"Vi{i} s{i} 0 {chip.inverter_offsets_v[i]:.17g}"]
        lines += [f"Rx{i} x{i} e{i} {1 / chip.unit_siemens:.17g}", f"Cf{i} e{i} o{i} {chip.capacitance_f:.17g} ic=0"]
        lines += [f"Ra{i} o{i} f{i} 1e5", f"Rb{i} w{i} f{i} 1e5"]
        lines += amplifier(f"a{i}", f"p{i}", f"e{i}", f"o{i}", amp)
        lines += amplifier(f"b{i}", f"s{i}", f"f{i}", f"w{i}", amp)
        for j in range(n):
            for kind, G, node in (("p", chip.plus, f"o{j}"), ("m", chip.minus, f"w{j}")):
                if G[i, j] > 0:
                    lines.append(f"R{kind}{i}_{j} {node} e{i} {1 / G[i, j]:.17g}")
    outputs = " ".join(f"v(o{i})" for i in range(n))
    settings = [".options reltol=1e-7 abstol=1e-18 vntol=1e-12 gmin=1e-18", ".control", "set numdgt=15"]
    command = ["set wr_singlescale", *analysis, f"wrdata out.txt {outputs}", "quit", ".endc", ".end", ""]
    return "\n".join([*lines, *settings, *command])


def run(folder, text):
    (folder / "loop.cir").write_text(text, encoding="ascii")
    done = subprocess.run(["ngspice", "-b", "loop.cir"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (folder / "out.txt").exists(), done.stdout + done.stderr
    return np.loadtxt(folder / "out.txt", ndmin=2)[:, 1:]


def chip_of(n, amp, **options):
    rng = np.random.default_rng(n)
    R = np.eye(n) * 1.5 + rng.standard_normal((n, n)) * 0.5 / math.sqrt(n)
    devices = Devices(mismatch=0.05, g_min=1e-6)
    return AnalogueCircuit.build(R, devices, amp, rng=n, **options), rng.standard_normal(n)


@pytest.mark.parametrize("n", [4, 8])
@pytest.mark.parametrize("gain", [50.0, 1e4])
def test_ngspice_finds_the_rest_point_of_finite_gain_and_offset(n, gain, tmp_path):
    chip, x = chip_of(n, Amplifier(gain=gain, offset_v=3e-3), tau_s=1e-3)
    found = run(tmp_path, netlist(chip, x, ["op"]))[-1]
    # vntol 1e-12 V on a linear solve; 15 digits printed.
    np.testing.assert_allclose(found, chip.settle(x).volts, atol=1e-10)


def test_ngspice_finds_the_way_of_amplifiers_with_a_pole(tmp_path):
    amp = Amplifier(gain=1e3, bandwidth_hz=2e5, offset_v=3e-3)
    chip, x = chip_of(4, amp, tau_s=1e-4)
    # Without UIC the run would start at rest: the source steps from 0 instead, offsets already settled.
    text = netlist(chip, x, ["tran 2e-7 4e-4", "linearize v(o0) v(o1) v(o2) v(o3)"])
    for i in range(4):
        value = -chip.volts_per_unit * x[i]
        text = text.replace(f"Vx{i} x{i} 0 {value:.17g}", f"Vx{i} x{i} 0 pwl(0 0 1e-9 {value:.17g})")
    found = run(tmp_path, text)
    t = np.linspace(0, 4e-4, len(found))
    start = chip.settle(np.zeros(4)).xbar
    ours = chip.integrate(x, t[-1], t[1:], initial=start).volts
    # Trapezoidal steps of 2e-7 s at reltol 1e-7, on outputs of about 0.1 V; the ramp of 1 ns shifts time by 0.5 ns.
    assert np.abs(found[1:] - ours).max() < 2e-5 * np.abs(ours).max()
