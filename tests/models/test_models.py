"""Model files: those that come with the package against the paper, and what no file may say."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from neurodecorr import models as model_files
from neurodecorr.errors import ConfigError
from neurodecorr.models import CREDITS, load_model, model_file, model_names
from neurodecorr.network import Network

ROOT = Path(__file__).parents[2]

# "Correlations are ruining your gradient descent", Table 1: (units, inputs) of each weighted layer. A convolution
# hears patches of 3 × 3 × channels; pictures of 32 become 30, 28, 14, 12, 10, 5, those of 56 become 54, 27, 25, 23, 11.
TABLE_1 = {
    "dense_cifar10": [(1000, 3072), (1000, 1000), (1000, 1000), (1000, 1000), (10, 1000)],
    "conv_cifar10": [(32, 27), (32, 288), (64, 288), (64, 576), (1000, 1600), (10, 1000)],
    "conv_cifar100": [(32, 27), (32, 288), (64, 288), (64, 576), (1000, 1600), (100, 1000)],
    "conv_tiny_imagenet": [(32, 27), (32, 288), (64, 288), (64, 576), (1000, 7744), (200, 1000)],
}
# Table 2: Adam's rate alone, with decorrelation, and the rate of decorrelation.
TABLE_2 = {
    "dense_cifar10": {"bp": (1e-4, 1e-4, 1e-5), "fa": (1e-4, 1e-4, 1e-6), "np": (1e-5, 1e-4, 1e-6)},
    "conv_cifar10": {"bp": (1e-3, 1e-3, 1e-5), "fa": (1e-4, 1e-4, 1e-5)},
    "conv_cifar100": {"bp": (1e-3, 1e-3, 1e-5), "fa": (1e-4, 1e-4, 1e-5)},
    "conv_tiny_imagenet": {"bp": (1e-3, 1e-3, 1e-5), "fa": (1e-5, 1e-5, 1e-5)},
}
MINE = """
schema = 1
title = "mine"
source = "me"
[data]
name = "digits"
shape = [1, 8, 8]
[[layers]]
kind = "dense"
units = 10
activation = "identity"
[training]
epochs = 2
[rates]
bp = { alone = 1e-3, decorrelated = 1e-3, decorrelation = 1e-3 }
np = { alone = 1e-3, decorrelated = 1e-3, decorrelation = 1e-3 }
"""


def mine(tmp_path, old="", new="", text=MINE):
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new) if old else text + new)
    return path


@pytest.mark.parametrize("name", model_names())
def test_every_model_that_comes_with_the_package_is_built_and_runs_one_sample(name):
    model = load_model(name)
    network = model.network()
    output = network.forward(np.ones((1, *model.document.data.shape), np.float32)).output
    assert output.shape == (1, network.layers[-1].W.shape[0]) and np.isfinite(output).all()
    assert model.document.title and model.document.source


@pytest.mark.parametrize("name", TABLE_1)
def test_shapes_and_settings_are_those_of_table_1(name):
    model = load_model(name)
    assert [layer.W.shape for layer in model.network().layers] == TABLE_1[name]
    training = model.document.training
    assert (training.batch, training.optimiser, training.loss) == (256, "adam", "cross_entropy")
    assert training.options == {"first": 0.9, "second": 0.999, "epsilon": 1e-8}
    assert model.document.data.validation == 10_000


@pytest.mark.parametrize("name", TABLE_2)
def test_rates_are_those_of_table_2_and_direct_feedback_alignment_takes_those_of_feedback_alignment(name):
    found = {rule: (r.alone, r.decorrelated, r.decorrelation) for rule, r in load_model(name).document.rates.items()}
    assert found == TABLE_2[name] | {"dfa": TABLE_2[name]["fa"]}


@pytest.mark.parametrize("credit", CREDITS)
@pytest.mark.parametrize("form", ["none", "feedforward", "recurrent", "batch_norm"])
def test_every_rule_and_form_can_be_made_of_the_small_model(credit, form):
    model = load_model("digits")
    network = model.network(credit, form)
    assert model.rule(credit).start(network, 0).assign(np.ones((2, 64)), np.eye(10)[:2], np.random.default_rng(0))
    assert model.optimiser(credit, form).rate > 0
    assert {layer.decorrelator.plan.form for layer in network.layers} == {form}


def test_a_file_of_your_own_is_named_after_itself(tmp_path):
    model = load_model(mine(tmp_path))
    assert model.name == "mine" and isinstance(model.network(), Network)
    assert model.rule("np").noise.sigma == 1e-4
    options = "[credit.np]\nsigma = 0.5\nsamples = 3\n"
    assert load_model(mine(tmp_path, new=options)).rule("np").noise.sigma == 0.5
    with pytest.raises(ConfigError, match=r"'fa'.* bp, np"):
        model.optimiser("fa", "none")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("units", "unit", r"layers\.0\.dense\.unit is no key of a model file\. Did you mean 'units'"),
        ("epochs", "epoch", r"training\.epoch is no key of a model file\. Did you mean 'epochs'"),
        ("title", "tilte", r"tilte is no key of a model file\. Did you mean 'title'"),
        ('source = "me"', "", "the key source is missing"),
        ('"dense"', '"desne"', "layers.0.*'desne'"),
        ('"identity"', '"idenity"', r"mine\.toml: .*Did you mean 'identity'"),
        ("units = 10", "units = 0", r"layers\.0\.dense\.units.*greater than 0; got 0"),
        ("units = 10", "units = 2.5", r"layers\.0\.dense\.units.*got 2\.5"),
        ("units = 10", 'units = "many"', r"layers\.0\.dense\.units.*got 'many'"),
        ("epochs = 2", 'epochs = 2\nloss = "cross_entorpy"', "Did you mean 'cross_entropy'"),
        ("epochs = 2", 'epochs = 2\noptimiser = "adm"', "optimiser.*Did you mean 'adam'"),
        ("epochs = 2", "epochs = 2\noptions = { frist = 0.9 }", r"training\.options.*Did you mean 'first'"),
        ("epochs = 2", "epochs = 2\noptions = { first = 1.5 }", r"first must lie in \[0, 1\]"),
        ("shape = [1, 8, 8]", 'shape = [1, 8, 8]\nrecipe = "cifra"', "Did you mean 'cifar'"),
        ("alone = 1e-3", "alone = -1e-3", r"rates\.bp\.alone.*greater than 0"),
        ("alone = 1e-3", "alone = nan", r"rates\.bp\.alone"),
        ("bp = ", "dffa = ", "rates.*Did you mean 'dfa'"),
        ("schema = 1", "schema = 2", r"schema.*got 2"),
        ("schema = 1", "schema = ", "must be TOML"),
        ("[rates]", "[credit.np]\nsmaples = 3\n[rates]", r"credit\.np.*Did you mean 'samples'"),
        ("[rates]", "[credit.np]\nsigma = -1\n[rates]", "sigma must be > 0"),
    ],
    ids=str,
)
def test_a_wrong_file_is_refused_with_the_key_and_the_nearest_right_one(tmp_path, old, new, words):
    with pytest.raises(ConfigError, match=words):
        load_model(mine(tmp_path, old, new))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("units = 10", "units = 1_000_000_000_000", r"must fit in memory: .*layer 0 \(Dense\)"),
        ("shape = [1, 8, 8]", "shape = [3, 1_000_000, 1_000_000]", "must fit in memory"),
        ("shape = [1, 8, 8]", "shape = [8, 8]", r"inputs must be \(features,\) or \(channels, height, width\)"),
    ],
    ids=["units", "inputs", "two axes"],
)
def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path, old, new, words):
    model = load_model(mine(tmp_path, old, new))
    with pytest.raises(ConfigError, match=words):
        model.network("bp", "feedforward")


def test_a_model_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    for name, words in (
        ("digtis", "Did you mean 'digits'"),
        (
            tmp_path / "nothing.toml",
            r"cannot read the model file .*nothing\.toml: No such file or directory. `neurodecorr models`",
        ),
        ("models/digits", "or the path of a .toml file"),
    ):
        with pytest.raises(ConfigError, match=words):
            load_model(name)
    (tmp_path / "huge.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(ConfigError, match="at most 1,000,000 bytes"):
        load_model(tmp_path / "huge.toml")
    (tmp_path / "latin.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_model(tmp_path / "latin.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match="not a regular file but a folder"):
        load_model(tmp_path / "folder.toml")


def test_models_beside_the_code_win_over_those_of_a_checkout(tmp_path, monkeypatch):
    inside = tmp_path / "_models"
    inside.mkdir()
    (inside / "packed.toml").write_text(MINE)
    monkeypatch.setattr(model_files, "_FOLDERS", (inside, *model_files._FOLDERS))
    assert model_names() == ("packed",) and load_model("packed").document.title == "mine"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the package is installed without its repository")
def test_the_wheel_holds_the_models(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {Path(name).stem for name in archive.namelist() if name.startswith("neurodecorr/_models/")}
        archive.extractall(tmp_path / "site")
    assert held == set(model_names())
    code = "from neurodecorr.models import *; print(*model_names()); load_model('digits').network()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "site", capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        timeout=600,
    )  # fmt: skip
    assert done.stdout.split() == list(model_names())


@pytest.mark.parametrize(
    "line",
    ["units = true", 'units = "100"', "units = 100.0", "units = [100]", "units = inf"],
)
def test_a_number_must_be_written_as_what_it_is(tmp_path, line):
    text = model_file("digits").read_text("utf-8").replace("units = 100", line, 1)
    (tmp_path / "m.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"layers\.0\.dense\.units"):
        load_model(tmp_path / "m.toml")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("schema = 1", "schema = true"),
        ("schema = 1", "schema = 1.0"),
        ("shape = [1, 8, 8]", 'shape = [1, 8, "8"]'),
        ("epochs = 20", "epochs = true"),
        ("batch = 50", 'batch = "50"'),
        ("alone = 1e-2", "alone = true"),
        ("alone = 1e-2", 'alone = "0.01"'),
        ("alone = 1e-2", "alone = inf"),
        ("alone = 1e-2", "alone = nan"),
        ("epochs = 20", "epochs = 20\noptions = { first = true }"),
        ("epochs = 20", 'epochs = 20\noptions = { first = "0.9" }'),
        ('gain = "layer"', 'gain = "layer"\nshare = true'),
    ],
)
def test_no_field_takes_a_truth_or_a_text_for_a_number(tmp_path, old, new):
    text = model_file("digits").read_text("utf-8")
    assert old in text
    (tmp_path / "m.toml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError):
        load_model(tmp_path / "m.toml")


def test_model_files_that_are_no_files_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    for name in ("pipe.toml", "endless.toml"):
        with pytest.raises(ConfigError, match="not a regular file"):
            load_model(tmp_path / name)
