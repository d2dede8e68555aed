"""Training steps beside the same steps in PyTorch: the dense CIFAR-10 network of P0, and its convolutional one.

The PyTorch twin is what one writes from the paper: x̂ = M (x − μ) before every layer, M ← g (M − η C M) with the full
C @ M from 10 % of the batch, autograd, torch's own Adam.

Run: python tests/benchmarks/training.py [--threads 2] [--conv] [--only BP+D]
"""

from __future__ import annotations

import argparse
import itertools
from itertools import pairwise

import numpy as np
from bench import gemm_rate, interleaved, machine, peer, table
from threadpoolctl import threadpool_limits

from neurodecorr.credit import Adam, Backprop, FeedbackAlignment, NodePerturbation
from neurodecorr.data import Dataset, Epochs
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network
from neurodecorr.network.network import on_device
from neurodecorr.training import Trainer
from neurodecorr.training.trainer import evaluate

BATCH, RATE, ETA, SHARE, SIGMA = 256, 1e-4, 1e-5, 0.1, 1e-4
STEPS = 5
PAUSE = 0.1  # seconds between rivals, so that the threads of the last one do not take the next one's cores
HIDDEN = (1000, 1000, 1000, 1000)
RULES = {
    "BP": (Backprop(), "none"),
    "BP+D": (Backprop(), "feedforward"),
    "BP+R": (Backprop(), "recurrent"),
    "FA": (FeedbackAlignment(), "none"),
    "FA+D": (FeedbackAlignment(lateral_feedback="exact"), "feedforward"),
    "NP": (NodePerturbation(), "none"),
    "NP+D": (NodePerturbation(), "feedforward"),
}


def dense():
    """Return the layers of the dense network."""
    return [*(Dense(units) for units in HIDDEN), Dense(10, "identity")], 3072


def convolutional():
    """Return the layers of the convolutional network (P0 Table 1)."""
    layers = [Conv2d(32, 3), Conv2d(32, 3), MaxPool2d(2), Conv2d(64, 3), Conv2d(64, 3), MaxPool2d(2), Dense(1000)]
    return [*layers, Dense(10, "identity")], (3, 32, 32)


def our_steps(network, rule, X, labels):
    """Return an epoch of so many batches through `Trainer.fit`, as a user calls it; each call trains on."""
    flat = np.tile(X.reshape(len(X), -1), (STEPS, 1))
    shown = Epochs(Dataset(flat, np.tile(labels, STEPS), name="drawn"), len(X), shuffle=False)
    trainer, done = Trainer(network, rule, Adam(RATE)), itertools.count(1)
    return lambda: trainer.fit(shown, epochs=next(done))


class TorchTwin:
    """The dense network in PyTorch, written from the paper."""

    def __init__(self, torch, name, X, labels, seed=0):
        torch.manual_seed(seed)
        self.torch, self.name = torch, name
        self.X, self.labels = torch.from_numpy(X), torch.from_numpy(labels)
        sizes = [X.shape[1], *HIDDEN, 10]
        self.layers = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
        self.B = [torch.randn_like(layer.weight) / layer.in_features**0.5 for layer in self.layers]
        self.M = [torch.eye(n) for n in sizes[:-1]] if "+" in name else None
        self.mean = [torch.zeros(n) for n in sizes[:-1]]
        parameters = [p for layer in self.layers for p in layer.parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=RATE)
        self.step = {"BP": self.backprop, "FA": self.feedback, "NP": self.perturb}[name[:2]]

    def inputs(self, i, x, keep):
        """Return M (x − μ) of a layer, and keep what its update reads."""
        if self.M is None:
            return x
        drive = x - self.mean[i]
        xbar = drive @ self.M[i].T
        if keep is not None:
            keep.append((x.detach(), drive.detach(), xbar.detach()))
        return xbar

    def decorrelate(self, kept):
        """Take the full-rank step M ← g (M − η C M)."""
        torch = self.torch
        for i, (x, drive, xbar) in enumerate(kept):
            rows = int(np.ceil(SHARE * len(x)))
            few, seen = xbar[:rows], drive[:rows]
            C = few.T @ few / rows
            gain = torch.sqrt((seen**2).mean() / (few**2).mean())
            self.M[i] = gain * (self.M[i] - ETA * (C @ self.M[i]))
            self.mean[i] = 0.9 * self.mean[i] + 0.1 * x.mean(0)

    def forward(self, keep=None, noise=None):
        """Return the output; noise is added to every drive."""
        x = self.X
        for i, layer in enumerate(self.layers):
            h = layer(self.inputs(i, x, keep))
            if noise is not None:
                h = h + noise[i]
            x = h if i == len(self.layers) - 1 else self.torch.nn.functional.leaky_relu(h)
        return x

    def backprop(self):
        """Take one step of backpropagation by autograd."""
        keep = []
        self.optimiser.zero_grad()
        self.torch.nn.functional.cross_entropy(self.forward(keep), self.labels).backward()
        self.optimiser.step()
        with self.torch.no_grad():
            self.decorrelate(keep)

    def feedback(self):
        """Take one step of feedback alignment, written out."""
        torch, functional = self.torch, self.torch.nn.functional
        with torch.no_grad():
            x, inputs, drives, keep = self.X, [], [], []
            for i, layer in enumerate(self.layers):
                inputs.append(self.inputs(i, x, keep))
                drives.append(layer(inputs[-1]))
                x = drives[-1] if i == len(self.layers) - 1 else functional.leaky_relu(drives[-1])
            delta = torch.softmax(x, 1) - functional.one_hot(self.labels, 10)
            for i in range(len(self.layers) - 1, -1, -1):
                self.set_gradient(i, delta, inputs[i])
                if i:
                    error = delta @ self.B[i]
                    error = error if self.M is None else error @ self.M[i]
                    delta = error * torch.where(drives[i - 1] > 0, 1.0, 0.01)
            self.optimiser.step()
            self.decorrelate(keep)

    def perturb(self):
        """Take one step of node perturbation."""
        torch, functional = self.torch, self.torch.nn.functional
        with torch.no_grad():
            keep = []
            clean = functional.cross_entropy(self.forward(keep), self.labels, reduction="none")
            noise = [SIGMA * torch.randn(BATCH, layer.out_features) for layer in self.layers]
            change = functional.cross_entropy(self.forward(None, noise), self.labels, reduction="none") - clean
            x = self.X
            for i, layer in enumerate(self.layers):
                inputs = keep[i][2] if self.M is not None else x
                self.set_gradient(i, (change / SIGMA**2)[:, None] * noise[i], inputs)
                if self.M is None:
                    x = functional.leaky_relu(layer(x))
            self.optimiser.step()
            self.decorrelate(keep)

    def set_gradient(self, i, delta, inputs):
        """Give the optimiser δ x̄ᵀ."""
        layer = self.layers[i]
        layer.weight.grad, layer.bias.grad = delta.T @ inputs / BATCH, delta.mean(0)


def torch_convolution(torch, images, labels):
    """Return one step of the plain convolutional network in PyTorch."""
    nn, leaky = torch.nn, torch.nn.LeakyReLU
    parts = [nn.Conv2d(3, 32, 3), leaky(), nn.Conv2d(32, 32, 3), leaky(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3)]
    parts += [leaky(), nn.Conv2d(64, 64, 3), leaky(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1600, 1000), leaky()]
    model = nn.Sequential(*parts, nn.Linear(1000, 10))
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    X, y = torch.from_numpy(images), torch.from_numpy(labels)

    def step():
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(X), y).backward()
        optimiser.step()

    return step


def in_a_row(step):
    """Return some steps as one call: training does not change its library after each step, which costs caches."""

    def steps():
        for _ in range(STEPS):
            step()

    return steps


def flops(name):
    """Return the products' floating-point operations of one of our steps."""
    sizes = [3072, *HIDDEN, 10]
    weights = [2 * BATCH * a * b for a, b in pairwise(sizes)]
    squares = [2 * BATCH * n * n for n in sizes[:-1]]
    total = 2 * sum(weights) + sum(weights[1:])  # of NP the last term is its noisy pass, which shares the first layer
    if "+" in name:
        rows = int(np.ceil(SHARE * BATCH))
        total += sum(squares) + sum(squares[1:]) + sum(4 * rows * n * n for n in sizes[:-1])
    return total


def built(build, form):
    """Return a network with the settings of the table."""
    layers, inputs = build()
    plan = Decorrelation(form, rate=ETA, share=SHARE, gain="layer", rule="explicit", rate_is="absolute")
    return Network(layers, inputs, decorrelation=plan)


def run(names, build, repeats, torch, conv):
    """Time each rule in numpy and on torch beside its twin, and beside plain backpropagation in torch."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((BATCH, *np.atleast_1d(build()[1])), dtype=np.float32)
    labels = rng.integers(0, 10, BATCH)
    rate = gemm_rate("float32", 2000)
    print(f"float32 products: {rate / 1e9:.0f} GFLOP/s")
    rivals = {}
    if torch is not None:
        twin = torch_convolution(torch, X, labels) if conv else TorchTwin(torch, "BP", X, labels).step
        rivals["torch, BP"] = in_a_row(twin)
    for name in names:
        rule, form = RULES[name]
        rivals[name] = our_steps(built(build, form), rule, X, labels)
        if torch is not None:
            rivals[f"{name} on torch"] = our_steps(on_device(built(build, form), "cpu"), rule, X, labels)
            if not conv and name not in ("BP", "BP+R"):
                rivals[f"torch, {name}"] = in_a_row(TorchTwin(torch, name, X, labels).step)
    found = interleaved(rivals, repeats, PAUSE)
    table(f"one step of {BATCH} samples", found, ours=next(iter(rivals)), per=STEPS)
    if not conv:
        for name in names:
            print(f"{name}: {STEPS * flops(name) / rate / found[name].median:.0%} of the rate of products")


def run_evaluation(build, repeats, samples):
    """Time an evaluation with M, W M being made once, beside batches of the same network that do not know of others."""
    rng, inputs = np.random.default_rng(0), build()[1]
    X = rng.standard_normal((samples, int(np.prod(inputs))), dtype=np.float32)
    shown, network = Epochs(Dataset(X, rng.integers(0, 10, samples), name="drawn"), BATCH), built(build, "feedforward")
    plain = built(build, "none")

    def by_batches():
        for begin in range(0, samples, BATCH):
            network.forward(X[begin : begin + BATCH])

    rivals = {"evaluate": lambda: evaluate(network, shown), "evaluate, no M": lambda: evaluate(plain, shown)}
    table(f"{samples} samples", interleaved({**rivals, "forward": by_batches}, repeats, PAUSE), ours="evaluate")


def main():
    """Run the rows of the table in docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2, help="threads of BLAS and of torch (default 2)")
    parser.add_argument("--only", nargs="*", default=list(RULES), help="rules, such as BP BP+D")
    parser.add_argument("--conv", action="store_true", help="the convolutional network")
    parser.add_argument("--evaluate", type=int, default=0, help="time an evaluation of so many samples instead")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    machine()
    torch = peer("torch")
    if torch is not None:
        torch.set_num_threads(options.threads)
    with threadpool_limits(options.threads, user_api="blas"):
        build = convolutional if options.conv else dense
        if options.evaluate:
            run_evaluation(build, options.repeats, options.evaluate)
            return
        run(options.only, build, options.repeats, torch, options.conv)


if __name__ == "__main__":
    main()
