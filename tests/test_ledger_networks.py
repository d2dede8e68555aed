"""docs/ledger.md, the lines about networks and credit assignment; see tests/test_ledger.py for the others."""

import math

import numpy as np
import pytest

from neurodecorr.credit import SGD, Adam, Backprop, FeedbackAlignment, GaussianNoise, NodePerturbation
from neurodecorr.credit.ahmad2024 import public_code
from neurodecorr.credit.node_perturbation import perturbed
from neurodecorr.data import Epochs, ImageDataset, preparation
from neurodecorr.locality.credit import audit_all_credit
from neurodecorr.models import load_model
from neurodecorr.network import Conv2d, Decorrelation, Dense, MaxPool2d, Network

TABLE_1 = [Dense(20), Dense(20), Dense(20), Dense(20), Dense(10, "identity")]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 12)) @ RNG.standard_normal((12, 12)) / 4 + 0.3
Y = np.eye(10)[RNG.integers(0, 10, 40)]
IMAGES = RNG.standard_normal((6, 2, 8, 8)) + 1.0
CONVOLUTIONS = [Conv2d(4, 3, padding=1), MaxPool2d(2), Dense(10, "identity")]


def learnt(layers, inputs, batch, plan, steps=10):
    network = Network(layers, inputs, decorrelation=plan, dtype="float64", seed=1)
    for _ in range(steps):
        network.decorrelate(network.forward(batch, training=True).signals)
    return network


def test_D6_convolutions_learn_decorrelation_at_a_rate_of_their_own():
    code = public_code(CONVOLUTIONS, "bp", 1e-3, decorrelation_rate=1e-3)
    network = Network(code.layers, (2, 8, 8), decorrelation=code.decorrelation)
    assert [layer.decorrelator.plan.rate for layer in network.layers] == [1e-5, 1e-3]
    ours = Network(
        CONVOLUTIONS,
        (2, 8, 8),
        decorrelation=Decorrelation("feedforward", rate=1e-3, rule="explicit", rate_is="absolute"),
    )
    assert [layer.decorrelator.plan.rate for layer in ours.layers] == [1e-3, 1e-3]


def test_D7_node_perturbation_beside_decorrelation_changes_every_W():
    network = Network(
        TABLE_1,
        12,
        decorrelation=Decorrelation("feedforward", rate=1e-3, rule="explicit", rate_is="absolute"),
        dtype="float64",
    )
    before = [layer.W.copy() for layer in network.layers]
    optimiser = SGD(0.1).start([layer.W for layer in network.layers])
    credit = NodePerturbation().start(network).assign(X, Y, np.random.default_rng(0))
    optimiser.step([W for W, _ in credit.gradients])
    moved = [np.abs(layer.W - W).max() for layer, W in zip(network.layers, before, strict=True)]
    print("largest change of each W:", [f"{change:.1e}" for change in moved])
    assert min(moved) > 0


def test_D8_the_last_hidden_layer_of_the_dense_network_is_linear():
    code = public_code(TABLE_1, "bp", 1e-4)
    for layers, affine in ((code.layers, True), (TABLE_1, False)):
        network = Network(layers, 12, dtype="float64")
        third = network.forward(X).signals[3].x

        def above(x, network=network):
            return network.layers[4].respond(network.layers[3].fire(network.layers[3].respond(x, False).h), False).h

        bent = np.abs(above(third) + above(0 * third) - 2 * above(third / 2)).max()
        bent = max(bent, np.abs(above(third) + above(-third) - 2 * above(0 * third)).max())
        print(f"fourth hidden layer {network.layers[3].activation.name}: bent by {bent:.1e}")
        assert (bent < 1e-12) == affine


def test_D9_biases_of_convolutions_get_no_gradient():
    network = Network(CONVOLUTIONS, (2, 8, 8), dtype="float64")
    targets = Y[:6]
    found = {
        flag: FeedbackAlignment(conv_biases=flag).start(network, 0).assign(IMAGES, targets, RNG).gradients
        for flag in (True, False)
    }
    print("gradient of the convolution's biases, ours:", np.round(found[True][0][1], 3))
    assert np.abs(found[True][0][1]).max() > 1e-3
    np.testing.assert_array_equal(found[False][0][1], 0)
    for ours, code in zip(found[True], found[False], strict=True):
        np.testing.assert_array_equal(ours[0], code[0])
    np.testing.assert_array_equal(found[True][1][1], found[False][1][1])


def test_D10_feedback_is_root_six_times_as_large_as_the_forward_weights():
    network = Network([Dense(400), Dense(400), Dense(400), Dense(10, "identity")], 50, dtype="float64")
    ratios, sizes = {}, {}
    for name, rule in {"ours": FeedbackAlignment(), "code": public_code(TABLE_1, "fa", 1e-4).credit}.items():
        work = rule.start(network, 0)
        ratios[name] = work.arrays["B1"].std() / network.layers[1].W.std()
        batch = np.random.default_rng(0).standard_normal((40, 50))
        sizes[name] = [np.linalg.norm(delta) for delta in work.assign(batch, Y, RNG).deltas]
    grown = np.array(sizes["code"]) / sizes["ours"]
    print({name: f"{ratio:.3f}" for name, ratio in ratios.items()}, "δ larger by", np.round(grown, 2))
    # 160 000 uniform numbers: their standard deviation is known to 0.2 %.
    assert ratios["code"] == pytest.approx(math.sqrt(6), rel=0.01)
    assert ratios["ours"] == pytest.approx(1, rel=0.01)
    np.testing.assert_allclose(grown, math.sqrt(6) ** np.arange(3, -1, -1), rtol=1e-9)


def test_D11_the_exact_lateral_feedback_of_the_code_is_not_local_and_the_default_is():
    verdicts = {found.rule: found.verdict for found in audit_all_credit()}
    print({name: verdicts[name] for name in ("FA", "FA, exact lateral")})
    assert verdicts["FA"] == "local"
    assert "Mᵀ" in verdicts["FA, exact lateral"]
    assert FeedbackAlignment().lateral_feedback == "none"
    assert public_code(TABLE_1, "fa", 1e-4).credit.lateral_feedback == "exact"


def test_D13_the_memory_of_adam_is_ten_thousand_steps():
    late = {}
    for second in (0.999, 0.9999):
        w = np.zeros(1)
        optimiser = Adam(1.0, second=second).start([w])
        for step in range(4000):
            before = w.copy()
            optimiser.step([np.ones(1) if step < 2000 else np.full(1, 0.1)])
        late[second] = float((before - w)[0])
    print("step, gradients having fallen to a tenth 2000 steps ago:", {k: f"{v:.3f}" for k, v in late.items()})
    # v̂ = [g₁²(β^2000 − β^4000) + g₂²(1 − β^2000)]/(1 − β^4000).
    for second, step in late.items():
        kept = second**2000
        v = (kept * (1 - kept) + 0.01 * (1 - kept)) / (1 - kept**2)
        assert step == pytest.approx(0.1 / math.sqrt(v), rel=1e-6)
    assert Adam().second == 0.999
    assert public_code(TABLE_1, "bp", 1e-4).optimiser.second == 0.9999


def test_D14_padding_more_than_doubles_the_features_of_the_first_dense_layer():
    layers = load_model("conv_cifar10").layers()
    code = public_code(layers, "bp", 1e-3)
    features = {}
    for name, chosen in {"text": layers, "code": code.layers}.items():
        dense = Network(chosen, (3, 32, 32)).layers[4]
        features[name] = dense.W.shape[1]
    print("features before the dense layer:", features)
    assert features == {"text": 64 * 5 * 5, "code": 64 * 8 * 8}


def test_D15_validation_is_augmented_only_if_asked_for():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
    images = ImageDataset(pixels, np.arange(40) % 10)
    how = preparation(images, "cifar")
    for inherit in (False, True):
        _, held = Epochs(images, 10, preparation=how).split(20, inherit=inherit)
        first, second = (next(held.batches(epoch)).inputs for epoch in (0, 1))
        assert np.array_equal(first, second) is not inherit


def test_D16_a_millionth_is_too_little_noise_for_single_precision():
    layers = [Dense(1000), Dense(1000), Dense(1000), Dense(1000), Dense(10, "identity")]
    double = Network(layers, 300, dtype="float64", seed=0)
    single = Network(layers, 300, dtype="float32", seed=0)
    inputs, targets = np.random.default_rng(0).standard_normal((64, 300)), Y[np.arange(64) % 40]
    drawn = NodePerturbation().start(single).draw(single.forward(inputs), np.random.default_rng(1))
    off = {}
    for sigma in (1e-6, 1e-4, 1e-3):
        small, true = (_change(net, inputs, targets, drawn, sigma) for net in (single, double))
        off[sigma] = np.linalg.norm(small - true) / np.linalg.norm(true), np.mean(small == 0)
    print({sigma: f"error of Δℓ {error:.1%}, zeros {zeros:.0%}" for sigma, (error, zeros) in off.items()})
    assert 0.05 < off[1e-6][0] < 1
    assert off[1e-4][0] < 0.02
    assert off[1e-6][0] > 10 * off[1e-4][0]
    assert GaussianNoise().sigma == 1e-4


def _change(network, inputs, targets, drawn, sigma):
    clean = network.forward(inputs)
    noisy = perturbed(network, clean, [np.asarray(sigma * n, network.dtype) for n in drawn])
    measure = network.loss.measure
    Y = network.take(targets)
    return (measure(noisy.output, Y)[0] - measure(clean.output, Y)[0]).astype(float)


def test_D17_the_noisy_half_takes_part_in_mean_and_decorrelation():
    plan = Decorrelation.public_code(1e-3)
    network = learnt(TABLE_1, 12, X, plan, steps=3)
    rule = {flag: NodePerturbation(noise=GaussianNoise(0.1), joint_batch=flag).start(network) for flag in (True, False)}
    found = {flag: work.assign(X, Y, np.random.default_rng(0)) for flag, work in rule.items()}
    rows = {flag: len(credit.forward.signals[0].x) for flag, credit in found.items()}
    read = {flag: int(0.1 * count) + 1 for flag, count in rows.items()}
    one, two = (found[flag].forward.output for flag in (True, False))
    apart = np.linalg.norm(one - two) / np.linalg.norm(two)
    print(f"rows {rows}, of which decorrelation reads {read}; clean output differs by {apart:.1%}")
    assert rows == {True: 80, False: 40}
    # The noise of the other half reaches the clean one through the mean of the batch.
    assert apart > 1e-3
    for layer, signals in zip(network.layers, found[True].forward.signals, strict=True):
        kept = signals.head(layer.decorrelator.rows_read(len(signals.h) // layer.decorrelator.rows)).drive
        assert len(kept) == read[True]


def test_D18_a_gradient_through_the_mean_leaves_the_biases_of_a_linear_layer_none():
    largest = {}
    for passes in (True, False):
        plan = Decorrelation(
            "feedforward", rate=1e-3, mean="batch", mean_passes=passes, rule="explicit", rate_is="absolute"
        )
        network = learnt(public_code(TABLE_1, "bp", 1e-4).layers, 12, X, plan)
        gradients = Backprop().start(network).assign(X, Y, RNG).gradients
        largest[passes] = np.abs(gradients[3][1]).max()
    print("gradient of the linear layer's biases:", {k: f"{v:.1e}" for k, v in largest.items()})
    assert largest[True] < 1e-15
    assert largest[False] > 1e-3


def test_D19_a_mean_for_each_channel_leaves_borders_another_mean_than_the_inside():
    network = learnt(
        CONVOLUTIONS,
        (2, 8, 8),
        IMAGES,
        Decorrelation("feedforward", rate=1e-9, mean="batch", rule="explicit", rate_is="absolute"),
        1,
    )
    ours = network.forward(IMAGES, training=True).signals[0].drive.mean(axis=0)
    channel = IMAGES - IMAGES.mean(axis=(0, 2, 3), keepdims=True)
    plain = Network(CONVOLUTIONS, (2, 8, 8), dtype="float64")
    code = plain.forward(channel, training=True).signals[0].x.mean(axis=0)
    print(f"largest mean of a patch's feature: ours {np.abs(ours).max():.1e}, code {np.abs(code).max():.3f}")
    assert np.abs(ours).max() < 1e-12
    assert np.abs(code).max() > 0.01
