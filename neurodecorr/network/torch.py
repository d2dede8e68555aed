"""Networks on the devices of PyTorch, which is optional: the one place that imports it."""

from __future__ import annotations

from typing import Any

from neurodecorr.errors import ConfigError
from neurodecorr.network.network import Network


def on_device(network: Network, device: str) -> Network:
    """Return a network whose arrays are PyTorch tensors on one of its devices.

    The code that runs is the same; see `Network.to` for other array libraries.

    Parameters
    ----------
    network : Network
        Left as it is.
    device : str
        As PyTorch names it: "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    ConfigError
        If PyTorch is not installed, knows no such device, or cannot reach it.
    """
    torch = _torch(device)
    try:
        place = torch.device(device)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"device must be one that PyTorch {torch.__version__} reaches here, such as 'cpu'; got {device!r}: {reason}"
        ) from error
    return network.to(torch, place)


def _torch(device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ConfigError(
            f"device={device!r} needs PyTorch, which is not installed: pip install 'neurodecorr[torch]'. "
            "Without a device, networks run on numpy."
        ) from error
    return torch
