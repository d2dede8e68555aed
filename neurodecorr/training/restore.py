"""The network in the folder of a training run, made again, and what its layers see."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pydantic

from neurodecorr._typing import Floats
from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io import Result
from neurodecorr.models import Document, Model
from neurodecorr.network import Network
from neurodecorr.training.runs import OPTIONS, prepare_run

ROWS = 256


def trained_network(result: Result) -> Network:
    """Return the network that a training run ended with.

    Parameters
    ----------
    result : Result
        What `neurodecorr train` wrote.

    Returns
    -------
    Network
        Made from the model file kept in the result, with the learnt weights.

    Raises
    ------
    CheckpointError
        If the result is of another kind, does not hold its model, or does not fit it.
    """
    model, config = _model(result)
    try:
        network = model.network(
            config["credit"], config["form"], decorrelation_rate=config["decorrelation_rate"], dtype=_dtype(result)
        )
        network.load(_weights(result))
    except (InputError, ConfigError, KeyError) as error:
        raise CheckpointError(f"the result does not fit the model that it names: {error}") from error
    return network


def layer_inputs(result: Result) -> dict[str, Floats]:
    """Return inputs of each layer for the first samples of the test set.

    Parameters
    ----------
    result : Result
        What `neurodecorr train` wrote.

    Returns
    -------
    dict of str to (k, n) array
        By "layer0", "layer1", …; k ≤ 256 rows, of a convolution evenly spaced patches. Empty if the data are not where
        they were, or the run was not started from a model file.
    """
    try:
        model, config = _model(result)
        run = prepare_run(model, {name: config[name] for name in OPTIONS if name in config and name != "device"})
        network = run.trainer.network
        network.load(_weights(result))
    except (InputError, ConfigError, CheckpointError, OSError, KeyError):
        return {}
    if run.test is None:
        return {}
    batches = itertools.islice(run.test.batches(), -(-ROWS // run.test.size))
    X = np.concatenate([batch.inputs.reshape(len(batch.inputs), -1) for batch in batches])[:ROWS]
    signals = network.forward(X).signals
    return {f"layer{i}": np.asarray(one.x, np.float64)[:: max(1, len(one.x) // ROWS)] for i, one in enumerate(signals)}


def _model(result: Result) -> tuple[Model, Mapping[str, Any]]:
    config = result.meta.get("provenance", {}).get("config", {})
    if result.meta.get("kind") != "training" or "document" not in config:
        raise CheckpointError("this result must be that of `neurodecorr train`, which keeps its model; it is another.")
    try:
        return Model(str(config.get("model", "model")), Document.model_validate(config["document"])), config
    except pydantic.ValidationError as error:
        raise CheckpointError(f"the model kept in the result is not one of this version: {error}") from error


def _weights(result: Result) -> dict[str, Any]:
    return {k.removeprefix("network."): a for k, a in result.arrays.items() if k.startswith("network.")}


def _dtype(result: Result) -> str:
    return next(array.dtype.name for name, array in result.arrays.items() if name == "network.layer0.W")
