"""Learning curves: rules of credit assignment, with and without decorrelation, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurodecorr import _validation
from neurodecorr._typing import Floats
from neurodecorr.errors import ConfigError
from neurodecorr.models import Model
from neurodecorr.training.history import History
from neurodecorr.training.runs import prepare_run

# Which curve lies above which in Figure 4 of "Correlations are ruining your gradient descent".
ORDERINGS = (
    ("bp feedforward", "bp none"),
    ("fa feedforward", "bp none"),
    ("fa feedforward", "fa none"),
    ("dfa feedforward", "dfa none"),
    ("np feedforward", "np none"),
)


@dataclass(frozen=True)
class Curves:
    """Learning curves of several training runs.

    Parameters
    ----------
    histories : dict of str to list of History
        One per seed, by "rule form": "bp none", "fa feedforward".

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Fig. 4.
    """

    histories: dict[str, list[History]]

    def values(self, what: str = "test accuracy") -> dict[str, Floats]:
        """Return (seeds, epochs) numbers of each curve.

        Parameters
        ----------
        what : str
            A name in `History.epochs`.
        """
        return {name: np.array([history.epochs[what] for history in runs]) for name, runs in self.histories.items()}

    def lines(self) -> list[str]:
        """Return one line of text per curve: test accuracy after the first and the last epoch, mean and range."""
        found = self.values()
        width = max(map(len, found))
        return [f"{name:<{width}}  {_span(runs[:, 0])} → {_span(runs[:, -1])}" for name, runs in found.items()]

    def report(self, orderings: Sequence[tuple[str, str]] = ORDERINGS) -> list[str]:
        """Return `lines`, and by how much one curve lies above another, for the pairs of which both were trained.

        Parameters
        ----------
        orderings : sequence of (str, str)
            Names of curves, the higher first; by default those of Figure 4 of the paper.
        """
        lines = ["test accuracy after the first → the last epoch, mean (lowest … highest)", *self.lines()]
        lines.append("lead in points, first epoch → last, and how many seeds it holds for at the last")
        for above, below in (pair for pair in orderings if self.histories.keys() >= set(pair)):
            lead = 100 * self.lead(above, below)
            won = f"{(lead[:, -1] > 0).sum()} of {len(lead)}"
            lines.append(f"{above:<15} over {below:<9} {lead[:, 0].mean():+6.1f} → {lead[:, -1].mean():+6.1f}  {won}")
        return lines

    def lead(self, above: str, below: str) -> Floats:
        """Return by how much one curve lies above another, per seed and epoch.

        Parameters
        ----------
        above, below : str
            Names of curves; their seeds are compared one by one.
        """
        found = self.values()
        return np.asarray(
            found[_validation.choice(above, "above", found)] - found[_validation.choice(below, "below", found)]
        )


def train_curves(
    model: Model,
    credits: Sequence[str],
    forms: Sequence[str] = ("none", "feedforward"),
    *,
    data: str | Path | None = None,
    epochs: int | None = None,
    rate: float | None = None,
    decorrelation_rate: float | None = None,
    recipe: str | None = None,
    lateral_feedback: str | None = None,
    seeds: int = 5,
    folder: str | Path | None = None,
) -> Curves:
    """Train a model by each credit rule with each form of decorrelation.

    Parameters
    ----------
    model : Model
        From `load_model`.
    credits, forms : sequence of str
        Rules of credit assignment and forms of decorrelation; every pair is one curve.
    data : path, optional
        Of training and test set; by default the digits that come with scikit-learn.
    epochs : int, optional
        By default those of the model.
    rate, decorrelation_rate : float, optional
        Of W, and of M or R, the same for every curve; by default those that the model gives for each.
    recipe, lateral_feedback : str, optional
        Augmentation in training, and the way back of feedback alignment; see `Model.varied`.
    seeds : int
        Runs per curve, with seeds 0, 1, ….
    folder : path, optional
        Where each run keeps its checkpoints, in a folder of its own; with them a call that was stopped goes on.

    Returns
    -------
    Curves
        What was measured after each epoch.

    Raises
    ------
    ConfigError, InputError
        If an option lies outside its range, or the data do not fit the model.
    DivergenceError
        If a run diverges.

    References
    ----------
    Ahmad (2024), arXiv:2407.10780, Fig. 4.
    """
    _validation.count(seeds, "seeds")
    if not credits or not forms:
        raise ConfigError(f"curves must have a rule and a form at least; got {len(credits)} and {len(forms)}.")
    common: dict[str, Any] = {"epochs": epochs, "rate": rate, "decorrelation_rate": decorrelation_rate}
    common |= {"recipe": recipe, "lateral_feedback": lateral_feedback}
    common["data"] = None if data is None else str(data)
    histories: dict[str, list[History]] = {}
    for credit in credits:
        for form in forms:
            options = {"credit": credit, "form": form, **common}
            runs = histories.setdefault(f"{credit} {form}", [])
            for seed in range(seeds):
                place = None if folder is None else Path(folder) / f"{credit}-{form}-{seed}"
                run = prepare_run(model, {**options, "seed": seed})
                runs.append(run.go(place, resume=place is not None))
    return Curves(histories)


def _span(values: Floats) -> str:
    mean, low, high = 100 * values.mean(), 100 * values.min(), 100 * values.max()
    return f"{mean:5.1f} % ({low:.1f} … {high:.1f})"
