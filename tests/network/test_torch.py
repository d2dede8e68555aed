"""PyTorch's own passes against the compiled ones of numpy."""

import numpy as np
import pytest

from neurodecorr.credit import Adam, Backprop, FeedbackAlignment
from neurodecorr.data import Dataset, Epochs
from neurodecorr.network import AvgPool2d, Conv2d, Decorrelation, Dense, MaxPool2d, Network, activations, routes
from neurodecorr.network.algebra import as_numpy
from neurodecorr.network.network import on_device
from neurodecorr.training import Trainer

torch = pytest.importorskip("torch")
TOL = 1e-11  # sums run in another order


def tensor(A):
    return torch.from_numpy(np.ascontiguousarray(A))


def agree(found, wanted):
    np.testing.assert_allclose(as_numpy(found), wanted, rtol=0, atol=TOL)


@pytest.mark.parametrize(
    ("size", "stride", "padding", "channels"), [(3, 1, 0, 3), (3, 2, 1, 1), (2, 2, 0, 4), (1, 1, 2, 2)]
)
def test_convolutions_are_products_with_patches(size, stride, padding, channels):
    route, rng = routes.Patches((7, 6, channels), size, stride, padding), np.random.default_rng(0)
    pictures, K = rng.standard_normal((5, 7, 6, channels)), rng.standard_normal((4, route.shape_behind[-1]))
    h = route.multiply(pictures, K)
    delta = rng.standard_normal(h.shape)
    agree(route.multiply(tensor(pictures), tensor(K)), h)
    agree(route.correlate(tensor(delta), tensor(pictures)), route.correlate(delta, pictures))
    agree(route.spread(tensor(delta), tensor(K)), route.spread(delta, K))
    agree(route.mean(tensor(pictures)), route.mean(pictures))


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (2, 3)])
def test_the_first_of_equal_numbers_is_the_largest(size, stride):
    windows = routes.MaxWindows((7, 7, 3), size, stride)
    pictures = np.random.default_rng(0).integers(0, 3, (4, 7, 7, 3)).astype(float)  # many are equal
    best, memo = windows.forth(pictures)
    found, places = windows.forth(tensor(pictures))
    agree(found, best)
    E = np.random.default_rng(1).standard_normal(best.shape)
    agree(windows.back(tensor(E), places), windows.back(E, memo))


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_a_gradient_is_multiplied_by_the_slope_in_place(name):
    own = activations.ACTIVATIONS[name]
    h, E = np.random.default_rng(0).standard_normal((2, 40, 3))
    h[0] = 0
    wanted = E * own.slope(h)
    for kind in (tensor, np.array, np.asfortranarray):
        found = kind(E.copy())
        activations.multiply_by_slope(found, own, kind(h.copy()))
        agree(found, wanted)


def test_one_pass_of_adam_is_its_formula():
    rng, optimiser = np.random.default_rng(0), Adam(1e-2, 0.8, 0.95, 1e-6)
    w = rng.standard_normal((4, 3))
    ours, theirs = [w.copy()], [tensor(w.copy())]
    states = optimiser.start(ours), optimiser.start(theirs)
    for _ in range(4):
        g = rng.standard_normal((4, 3))
        states[0].step([g])
        states[1].step([tensor(g)])
    agree(theirs[0], ours[0])
    for name, array in states[0].arrays.items():
        agree(states[1].arrays[name], array)
    assert theirs[0].grad is None


@pytest.mark.parametrize("rule", [Backprop(), FeedbackAlignment(lateral_feedback="exact")])
@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent"])
def test_training_on_tensors_gives_the_numbers_of_numpy_and_resumes_to_the_bit(form, rule, tmp_path):
    rng = np.random.default_rng(0)
    data = Dataset(rng.standard_normal((30, 2 * 9 * 9)), rng.integers(0, 3, 30), name="drawn")
    layers = [Conv2d(4, 3, padding=1), MaxPool2d(2), Conv2d(3, 2, stride=2), AvgPool2d(2), Dense(3, "identity")]
    plan = Decorrelation(form, rate=0.01, share=0.3)

    def trainer(device):
        network = Network(layers, (2, 9, 9), decorrelation=plan, dtype="float64", seed=1)
        return Trainer(on_device(network, "cpu") if device else network, rule, Adam(1e-3))

    def trained(device, epochs, folder=None, **options):
        made = trainer(device)
        made.fit(Epochs(data, 10), epochs, folder=folder, **options)
        return made.arrays()

    ours, theirs = trained(False, 3), trained(True, 3)
    for name, array in ours.items():
        np.testing.assert_allclose(theirs[name], array, rtol=0, atol=1e-9, err_msg=name)
    trained(True, 1, tmp_path)
    for name, array in trained(True, 3, tmp_path, resume=True).items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
