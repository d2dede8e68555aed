"""One run from a model file: which number wins, and what is refused before anything is trained."""

import sys

import numpy as np
import pytest

from neurodecorr.credit import Adam, FeedbackAlignment
from neurodecorr.errors import ConfigError, InputError
from neurodecorr.models import load_model
from neurodecorr.training.runs import OPTIONS, prepare_run, unfinished


def test_options_win_over_the_model_and_what_is_not_given_is_the_model_s():
    own = load_model("digits").document
    run = prepare_run(load_model("digits"), {"credit": "fa", "form": "recurrent", "rate": 0.5, "epochs": 3, "seed": 4})
    assert run.config["epochs"] == 3 and run.config["batch"] == own.training.batch == run.training.size
    assert run.trainer._rules == {"credit": repr(FeedbackAlignment()), "optimiser": repr(Adam(0.5))}
    plan = run.trainer.network.layers[0].decorrelator.plan
    assert (plan.form, plan.rate) == ("recurrent", own.rates["fa"].decorrelation)


def test_the_rate_of_a_decorrelated_run_is_its_own():
    own = load_model("digits").document.rates["np"]
    for form, rate in (("none", own.alone), ("batch_norm", own.alone), ("feedforward", own.decorrelated)):
        run = prepare_run(load_model("digits"), {"credit": "np", "form": form})
        assert f"rate={rate}" in run.trainer._rules["optimiser"]


def test_recipe_and_lateral_feedback_replace_those_of_the_model():
    model = load_model("dense_cifar10")
    varied = model.varied(recipe="plain", lateral_feedback="exact")
    assert (model.document.data.recipe, varied.document.data.recipe) == ("cifar", "plain")
    assert varied.rule("fa") == FeedbackAlignment(lateral_feedback="exact") and model.rule("fa") == FeedbackAlignment()
    assert model.varied() == model
    run = prepare_run(load_model("digits"), {"credit": "fa", "lateral_feedback": "exact"})
    assert run.trainer._rules["credit"] == repr(FeedbackAlignment(lateral_feedback="exact"))


@pytest.mark.parametrize("classes", [7, 13])
@pytest.mark.parametrize("kind", [np.uint8, float])
def test_data_of_other_classes_than_the_model_has_outputs_are_refused(tmp_path, classes, kind):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 17, (60, 8, 8)).astype(kind), np.arange(60) % classes
    np.savez(tmp_path / "x.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    with pytest.raises(InputError, match=f"as many classes as it has outputs, 10; 'x' has {classes}"):
        prepare_run(load_model("digits"), {"data": str(tmp_path / "x.npz")})


def test_a_device_needs_torch_and_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"'cuda' .*neurodecorr\[torch\]"):
        prepare_run(load_model("digits"), {"device": "cuda"})


def test_a_run_on_a_device_learns_what_it_learns_on_numpy():
    pytest.importorskip("torch", reason="torch is absent: pip install 'neurodecorr[torch]'")
    options = {"credit": "fa", "form": "feedforward", "epochs": 2, "rate": 3e-3, "decorrelation_rate": 1e-3}
    runs = [prepare_run(load_model("digits"), {**options, "device": device}) for device in (None, "cpu")]
    losses = [run.go().epochs["training loss"] for run in runs]
    assert type(runs[1].trainer.network.layers[0].W).__module__ == "torch"
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)  # float32; a few hundred steps of Adam between
    with pytest.raises(ConfigError, match=r"device .*got 'nowhere'"):
        prepare_run(load_model("digits"), {"device": "nowhere"})


def test_validation_samples_are_held_out_of_training_and_the_test_set_is_not_augmented():
    run = prepare_run(load_model("digits"), {"validation": 300})
    assert len(run.training.dataset) == 1200 and len(run.validation.dataset) == 300 and len(run.test.dataset) == 297
    assert not run.test.augment and not run.test.shuffle and not run.validation.augment


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"epoch": 3}, ConfigError, "Did you mean 'epochs'"),
        ({"epochs": 0}, ConfigError, "epochs must be a whole number ≥ 1; got 0"),
        ({"batch": 0}, ConfigError, "batch must be a whole number ≥ 1; got 0"),
        ({"rate": 0.0}, ConfigError, "rate must be > 0; got 0.0"),
        ({"rate": float("nan")}, ConfigError, "rate must be a finite number"),
        ({"decorrelation_rate": -1.0}, ConfigError, "decorrelation_rate must be > 0"),
        ({"validation": -1}, ConfigError, "validation must be a whole number ≥ 0"),
        ({"validation": 1500}, ConfigError, "1500"),
        ({"seed": -1}, ConfigError, "seed must be a whole number ≥ 0"),
        ({"credit": "dffa"}, ConfigError, "Did you mean 'dfa'"),
        ({"form": "recurent"}, ConfigError, "Did you mean 'recurrent'"),
        ({"recipe": "plane"}, ConfigError, "Did you mean 'plain'"),
        ({"lateral_feedback": "exakt"}, ConfigError, "Did you mean 'exact'"),
        ({"watches": ("angel",)}, ConfigError, "Did you mean 'angle'"),
        ({"data": "nowhere/"}, InputError, "no file or folder 'nowhere/'. The model 'digits' is made for digits"),
        ({"data": "digtis"}, InputError, "Did you mean 'digits'"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(options, kind, words):
    with pytest.raises(kind, match=words):
        prepare_run(load_model("digits"), options)


def arrays(path, inputs, labels):
    np.savez(path, x_train=inputs, y_train=labels, x_test=inputs, y_test=labels)
    return {"data": str(path)}


def test_data_that_do_not_fit_the_network_are_refused(tmp_path):
    model = load_model("digits")
    with pytest.raises(InputError, match=r"inputs of shape \(1, 8, 8\).*\(9,\)"):
        prepare_run(model, arrays(tmp_path / "a.npz", np.ones((5, 9)), np.zeros(5, int)))
    spoilt = np.ones((5, 64))
    spoilt[3, 7] = np.nan
    with pytest.raises(InputError, match="found nan at row 3, column 7"):
        prepare_run(model, arrays(tmp_path / "b.npz", spoilt, np.zeros(5, int)))
    with pytest.raises(InputError, match=r"outputs, 10; 'c' has 12"):
        prepare_run(model, arrays(tmp_path / "c.npz", np.eye(5, 64), np.arange(5) + 7))


def test_a_model_made_for_other_data_asks_for_them():
    with pytest.raises(ConfigError, match=r"mnist.* --data"):
        prepare_run(load_model("mnist"), {})


def test_a_run_is_unfinished_until_its_result_is_there(tmp_path):
    assert not unfinished(tmp_path)
    run = prepare_run(load_model("digits"), {"epochs": 1, "batch": 500})
    run.go(tmp_path)
    assert not unfinished(tmp_path)
    (tmp_path / "result.npz").unlink()
    assert unfinished(tmp_path)


def test_every_option_of_a_run_is_in_its_description():
    run = prepare_run(load_model("digits"), {})
    assert run.config.keys() == OPTIONS.keys() | {"model", "document"}
