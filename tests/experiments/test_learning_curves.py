"""Learning curves are the runs that they are made of, in order, and go on after a stop."""

import numpy as np
import pytest

from neurodecorr.errors import ConfigError
from neurodecorr.experiments.learning_curves import train_curves
from neurodecorr.models import load_model
from neurodecorr.training.runs import prepare_run


@pytest.fixture(scope="module")
def curves():
    return train_curves(load_model("digits"), ("bp", "np"), epochs=2, seeds=2)


def test_each_curve_holds_the_runs_of_its_rule_form_and_seeds(curves):
    assert list(curves.histories) == ["bp none", "bp feedforward", "np none", "np feedforward"]
    options = {"credit": "np", "form": "feedforward", "seed": 1, "epochs": 2}
    alone = prepare_run(load_model("digits"), options).go()
    assert curves.histories["np feedforward"][1].epochs == alone.epochs


def test_one_rate_for_all_replaces_those_of_the_model():
    model, options = load_model("digits"), {"epochs": 1, "rate": 2e-3, "decorrelation_rate": 5e-4}
    found = train_curves(model, ("fa",), ("feedforward",), seeds=1, **options)
    alone = prepare_run(model, {"credit": "fa", "form": "feedforward", **options}).go()
    assert found.histories["fa feedforward"][0].epochs == alone.epochs
    assert found.histories["fa feedforward"][0].epochs != prepare_run(model, {"credit": "fa", "epochs": 1}).go().epochs


def test_values_are_one_row_per_seed(curves):
    found = curves.values("test loss")
    assert found["bp none"].shape == (2, 2)
    assert found["bp none"][1, 0] == curves.histories["bp none"][1].epochs["test loss"][0]


def test_a_lead_is_the_difference_seed_by_seed(curves):
    values = curves.values()
    np.testing.assert_array_equal(curves.lead("bp none", "np none"), values["bp none"] - values["np none"])
    with pytest.raises(ConfigError, match=r"above must be one of .*bp feedforward"):
        curves.lead("bp", "np none")


def test_lines_give_mean_and_range_in_percent(curves):
    values = 100 * curves.values()["bp none"][:, -1]
    assert curves.lines()[0].endswith(f"{values.mean():.1f} % ({values.min():.1f} … {values.max():.1f})")


def test_with_a_folder_finished_runs_are_not_repeated(tmp_path, monkeypatch):
    model = load_model("digits")
    first = train_curves(model, ("bp",), ("none",), epochs=1, seeds=1, folder=tmp_path)
    assert (tmp_path / "bp-none-0" / "result.npz").exists()
    monkeypatch.setattr("neurodecorr.training.Trainer.learn", lambda *a: pytest.fail("it learns again"))
    again = train_curves(model, ("bp",), ("none",), epochs=1, seeds=1, folder=tmp_path)
    assert again.histories["bp none"][0].epochs == first.histories["bp none"][0].epochs


def test_without_a_rule_or_a_form_there_is_no_curve():
    with pytest.raises(ConfigError, match="a rule and a form"):
        train_curves(load_model("digits"), ())
    with pytest.raises(ConfigError, match="a rule and a form"):
        train_curves(load_model("digits"), ("bp",), ())


def test_a_report_says_which_curve_leads_and_leaves_out_pairs_that_were_not_trained(curves):
    lines = curves.report()
    assert lines[1:5] == curves.lines() and len(lines) == 8
    lead = 100 * curves.lead("np feedforward", "np none")
    wanted = f"{lead[:, 0].mean():+6.1f} → {lead[:, -1].mean():+6.1f}  {(lead[:, -1] > 0).sum()} of 2"
    assert lines[-1].startswith("np feedforward") and lines[-1].endswith(wanted)
    assert [line.split()[0] for line in lines[6:]] == ["bp", "np"]  # no curves of fa and dfa


def test_recipe_and_lateral_feedback_reach_every_run():
    model, options = load_model("digits"), {"epochs": 1, "lateral_feedback": "exact", "recipe": "plain"}
    found = train_curves(model, ("fa",), ("feedforward",), seeds=1, **options)
    alone, other = (
        prepare_run(model, {"credit": "fa", "form": "feedforward", **some}).go() for some in (options, {"epochs": 1})
    )
    assert found.histories["fa feedforward"][0].epochs == alone.epochs != other.epochs
