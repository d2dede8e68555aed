"""
A network that settles as one system and learns from what it settles to
=======================================================================

The network that §3.2 and Appendix D of Ahmad N (2024), "Correlations are ruining your gradient descent",
arXiv:2407.10780, leave as an outlook: every layer has a decorrelating circuit, τ dx̄/dt = x − μ − R x̄, and units of
their own time constant, τ' dx/dt = −x + φ(W x̄ + b); nothing waits for anything.

All layers settle together. Then each synapse changes by the signals at its two ends: a lateral one by postsynaptic
drive times presynaptic activity, a forward one by the error that fixed random weights bring to its unit times
presynaptic activity (direct feedback alignment). No forward weight, and no lateral one, is read by another synapse.
Beside it learns a network that runs layer by layer and keeps M = R⁻¹ for that, computed anew whenever rounding has
brought it off R: there the distance between the two falls.

Finding: what is learnt from the settled system is what the layer-by-layer network learns, to the tolerance of settling.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import neurodecorr as nd
from neurodecorr.credit import SGD, DirectFeedbackAlignment
from neurodecorr.credit.base import output_error, weight_gradients
from neurodecorr.data import Epochs
from neurodecorr.network import Decorrelation, Dense, Network
from neurodecorr.network.network import ForwardResult
from neurodecorr.network.weights import Signals

NAME = "recurrent_network"
UNITS, CLASSES = (48, 48), 10
DECORRELATION = Decorrelation("recurrent", rule="implicit", rate=1e-3, gain="layer", rate_is="absolute")
RATE, MOMENTUM = 0.05, 0.9
BATCH, BATCHES, BATCHES_FULL = 50, 120, 900
TOLERANCE = 1e-6  # of the settled output
SLOW = 1.0  # τ', in units of τ
FRAMES = np.linspace(0, 40, 121)  # in units of τ
SHOWN = 297  # test images
COLOURS = ("#222222", "#0072B2", "#D55E00")


def main(full: bool, out: Path) -> None:
    batches = BATCHES_FULL if full else BATCHES
    train, test = nd.data.labelled("digits")
    prepared = nd.data.preparation(train)
    layered, settled = network(), network()
    distance, time = learn(layered, settled, Epochs(train, BATCH, preparation=prepared), batches)

    (shown,) = Epochs(test, SHOWN, shuffle=False, preparation=prepared).batches()
    X, circuit = shown.inputs.reshape(len(shown.inputs), -1), settled.as_circuit(tau_units=SLOW)
    rest, course = circuit.settle(X, TOLERANCE, method="rk4"), circuit.integrate(X, FRAMES[-1], FRAMES, rtol=1e-6)
    way = np.array([spread(xbar, end) for xbar, end in zip(course.xbar, rest.xbar, strict=True)])
    answers = [np.mean(output.argmax(axis=1) == shown.targets) for output in course.activity[-1]]
    by_layers, by_rest = (np.mean(y.argmax(axis=1) == shown.targets) for y in (layered.forward(X).output, rest.output))

    with plt.rc_context(nd.plots.STYLE):
        figure = draw(course, way, np.array(answers), by_layers, distance)
    nd.plots.save(figure, out, NAME)
    config = {"units": UNITS, "rate": RATE, "batch": BATCH, "batches": batches, "tolerance": TOLERANCE}
    arrays = {"distance": distance, "time": time, "frames": FRAMES, "way": way, "answers": answers}
    arrays |= {"by_layers": by_layers, "by_rest": by_rest, "bound": rest.bound}
    nd.io.Result(arrays, nd.io.provenance(config, 0)).save(out / f"{NAME}.npz")

    print(f"64-{'-'.join(map(str, UNITS))}-{CLASSES}, {batches} batches of {BATCH}; all circuits and units at once")
    print(f"settling to {TOLERANCE:g} of the output takes {time[0]:.0f} τ untrained, {time[-1]:.0f} τ trained")
    print(f"weights of the two networks apart after the last batch: {distance[-1]:.1e} of their size")
    print(f"test accuracy layer by layer {by_layers:.4f}, settled system {by_rest:.4f}")
    print(
        f"all {len(rest.bound)} outputs certified to {rest.bound.max():.1e}; right answers reach their end at", end=" "
    )
    print(f"{FRAMES[np.flatnonzero(np.array(answers) != answers[-1])[-1] + 1]:.1f} τ")


def network():
    layers = [*(Dense(n) for n in UNITS), Dense(CLASSES, "identity")]
    return Network(layers, 64, decorrelation=DECORRELATION, seed=0, dtype="float64")


def learn(layered, settled, epochs, batches):
    """Let one network learn from its layer-by-layer pass, the other from its rest; return distances and times."""
    rule, distance, time = DirectFeedbackAlignment(), np.empty(batches), np.empty(batches)
    feedback = rule.start(layered, 0).arrays  # the same for both
    steps = [
        SGD(RATE, MOMENTUM).start([a for layer in n.layers for a in (layer.W, layer.b)]) for n in (layered, settled)
    ]
    for done in range(batches):
        epoch, place = divmod(done, len(epochs))
        batch = next(epochs.batches(epoch, place))
        X, Y = batch.inputs.reshape(len(batch.inputs), -1).astype(float), np.eye(CLASSES)[batch.targets]
        rest = settled.as_circuit(tau_units=SLOW).settle(X, TOLERANCE, method="rk4")
        update(layered, layered.forward(X, training=True), Y, feedback, steps[0])
        update(settled, signals_at(rest, settled, X), Y, feedback, steps[1])
        distance[done], time[done] = apart(layered, settled), rest.time
    return distance, time


def signals_at(rest, network, X):
    """Return what each synapse of the settled system has at its two ends."""
    inputs, found = [X, *rest.activity[:-1]], []
    for layer, x, xbar in zip(network.layers, inputs, rest.xbar, strict=True):
        drive, h = x - layer.decorrelator.arrays["mean"], xbar @ layer.W.T + layer.b
        found.append(Signals(x, drive, xbar, h, (), True))
    return ForwardResult(tuple(found), rest.output)


def update(network, found, Y, feedback, step):
    """Change every synapse by the signals at its two ends."""
    _, error = output_error(network, found, Y)
    hidden = zip(network.layers[:-1], found.signals[:-1], feedback.values(), strict=True)
    deltas = [*(layer.slope(signals.h) * (error @ B) for layer, signals, B in hidden), error]
    step.step([gradient for pair in weight_gradients(deltas, found) for gradient in pair])
    network.decorrelate(found.signals)


def apart(a, b):
    """Return the distance of all weights W and R of two networks, relative to their size."""
    pairs = [(u, b.arrays()[name]) for name, u in a.arrays().items() if name.endswith((".W", ".R"))]
    return np.sqrt(sum(np.sum((u - v) ** 2) for u, v in pairs) / sum(np.sum(u**2) for u, _ in pairs))


def spread(xbar, end):
    """Return the distance of x̄ to its rest over time, relative to its size, all samples together."""
    return np.linalg.norm(xbar - end, axis=(1, 2)) / np.linalg.norm(end)


def draw(course, way, answers, by_layers, distance):
    figure, ((traces, reach), (right, learnt)) = plt.subplots(2, 2, figsize=(10, 6.6))
    for i, (xbar, colour) in enumerate(zip(course.xbar, COLOURS, strict=True)):
        lines = traces.plot(course.t, xbar[:, 0, 20:28], color=colour, linewidth=0.9)
        lines[0].set_label(f"layer {i + 1}")
        reach.semilogy(course.t, way[i], color=colour)
    right.plot(course.t, 100 * answers, color=COLOURS[0])
    right.axhline(100 * by_layers, color="#767676", linestyle=":", linewidth=1.2)
    learnt.semilogy(np.arange(1, len(distance) + 1), np.maximum(distance, 1e-17), color=COLOURS[0])
    learnt.axhline(TOLERANCE, color="#767676", linestyle=":", linewidth=1.2)
    traces.set(xlabel="time (τ)", ylabel="x̄ of eight units", title="One image, all layers at once")
    reach.set(xlabel="time (τ)", ylabel="‖x̄ − x̄*‖/‖x̄*‖", title="Distance to rest, all test images", ylim=(1e-7, 2))
    right.set(xlabel="time (τ)", ylabel="right answers (%)", title="Read out before rest (dotted: layer by layer)")
    learnt.set(xlabel="batches learnt", ylabel="relative distance of W and R")
    learnt.set_title("The two ways of learning (dotted: tolerance)")
    figure.legend(*traces.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A network settles as one system of ODEs and learns locally.")
    parser.add_argument("--full", action="store_true", help=f"{BATCHES_FULL} batches")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for figures and numbers")
    main(**vars(parser.parse_args()))
