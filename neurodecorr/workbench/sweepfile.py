"""What a sweep file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from neurodecorr.errors import ConfigError
from neurodecorr.modelfile import CREDITS, model_names
from neurodecorr.modelfile.tables import Table, checked, read_tables

__all__ = ["SweepFile", "load_sweep"]

RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # those of P0's grid
Credit = Literal["bp", "fa", "dfa", "np"]
Form = Literal["none", "feedforward", "recurrent", "batch_norm"]


class SweepFile(Table):
    """A sweep: which curves, over which learning rates, and how the best of each is chosen.

    Parameters
    ----------
    schema_version : int
        `schema = 1`.
    model : str
        Name or path of a model file; a path may be relative to the sweep file.
    data : str, optional
        Path of the data, as for `prepare_run`; it may be relative to the sweep file.
    credit, decorrelation : sequences of str
        Rules of credit assignment and forms of decorrelation; each pair is a curve.
    rates, decorrelation_rates : sequences of float
        Learning rates of W, and of M or R where there is one; by default those that P0 tried.
    validation : int
        Training samples held out while rates are chosen.
    epochs, final_epochs, batch : int, optional
        Of the grid, of the final runs (as those of the grid), samples per batch; by default those of the model.
    seeds : sequence of int
        Of the final runs; the first one also of the grid.
    select : {"validation accuracy", "validation loss"}
        What the best rates are best at.
    select_at : {"last", "best"}
        In which epoch. The best one would also choose rates at which a network learns fast and then falls apart.
    """

    schema_version: Annotated[int, Field(ge=1, le=1, alias="schema")]
    model: str
    data: str | None = None
    credit: tuple[Credit, ...] = Field(default=CREDITS, min_length=1)  # type: ignore[arg-type]
    decorrelation: tuple[Form, ...] = Field(default=("none", "feedforward"), min_length=1)
    rates: tuple[PositiveFloat, ...] = Field(default=RATES, min_length=1)
    decorrelation_rates: tuple[PositiveFloat, ...] = Field(default=RATES, min_length=1)
    validation: PositiveInt = 10_000
    epochs: PositiveInt | None = None
    final_epochs: PositiveInt | None = None
    batch: PositiveInt | None = None
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(0, 1, 2, 3, 4), min_length=1)
    select: Literal["validation accuracy", "validation loss"] = "validation accuracy"
    select_at: Literal["last", "best"] = "last"


def load_sweep(path: str | Path) -> SweepFile:
    """Read a sweep file.

    Raises
    ------
    ConfigError
        If it is missing, no TOML, says what no sweep file may, or lists something twice.
    """
    place = Path(path)
    found = checked(read_tables(place, "sweep file"), SweepFile, place, "sweep file")
    for name in ("credit", "decorrelation", "rates", "decorrelation_rates", "seeds"):
        values = getattr(found, name)
        if len(set(values)) < len(values):
            raise ConfigError(f"{place}: {name} must list each value once; got {list(values)}.")
    near = {name: _beside(place, getattr(found, name)) for name in ("model", "data")}
    return found.model_copy(update=near)


def _beside(file: Path, name: str | None) -> str | None:
    """Return the absolute path of what a name means, if it lies beside the sweep file or here.

    A name without a slash and a suffix is that of a model, or of data that come with a library, if there is one.
    """
    if name is None or name in {"digits", *model_names()}:
        return name
    own = Path(name).expanduser()
    places = (file.parent / own, own)
    return next((str(place.resolve()) for place in places if place.exists()), name)
