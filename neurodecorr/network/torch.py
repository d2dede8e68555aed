"""Networks on the devices of PyTorch, which is optional: the one place that imports it.

The code of a network runs on tensors as it does on arrays. What PyTorch has a pass of its own for is handed to it here:
convolutions, pooling and Adam. Pictures lie channels last, as `torch.channels_last` has them, so nothing is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from array_api_compat import is_torch_array

from neurodecorr._typing import AnyArray
from neurodecorr.errors import ConfigError


class Sliding(Protocol):
    """What is read of `routes.Windows`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W, C)."""

    @property
    def size(self) -> int:
        """Side of a window."""

    @property
    def stride(self) -> int:
        """Step from one window to the next."""

    @property
    def padding(self) -> int:
        """Zeros added at each border."""

    @property
    def steps(self) -> tuple[int, int]:
        """Number of windows down and across."""


def is_tensor(A: Any) -> bool:
    """Return True for a tensor of PyTorch; does not import it."""
    return bool(is_torch_array(A))


def convolved(pictures: AnyArray, K: AnyArray, windows: Sliding) -> AnyArray:
    """Return X Kᵀ, (rows, units), for the patches X of pictures (b, H, W, C), which are not made."""
    import torch

    kernel = _kernel(K, windows)
    found = torch.nn.functional.conv2d(_first(pictures), kernel, None, windows.stride, windows.padding)
    return _rows(found)


def correlated(delta: AnyArray, pictures: AnyArray, windows: Sliding) -> AnyArray:
    """Return δᵀX, (units, n), for rows δ and the patches X of pictures."""
    import torch

    shape = (delta.shape[1], windows.shape[2], windows.size, windows.size)
    E = _places(delta, windows)
    found = torch.nn.grad.conv2d_weight(_first(pictures), shape, E, windows.stride, windows.padding)
    return found.permute(0, 2, 3, 1).reshape(shape[0], -1)


def spread(delta: AnyArray, K: AnyArray, windows: Sliding) -> AnyArray:
    """Return at each place of the pictures the sum over the patches that saw it of their rows of δ K."""
    import torch

    E = _places(delta, windows)
    blank = _blank(E, windows)
    sides = [[windows.stride] * 2, [windows.padding] * 2, [1, 1]]
    back = torch.ops.aten.convolution_backward  # the public `conv2d_input` has no say where the channels lie
    found, _, _ = back(E, blank, _kernel(K, windows), None, *sides, False, [0, 0], 1, [True, False, False])
    return found.permute(0, 2, 3, 1)


def maxima_pass(pictures: AnyArray, windows: Sliding) -> tuple[AnyArray, AnyArray]:
    """Return the largest number of each window and channel, (b, H', W', C), and where each was found."""
    import torch

    pool = torch.nn.functional.max_pool2d
    best, places = pool(_first(pictures), windows.size, windows.stride, return_indices=True)
    return best.permute(0, 2, 3, 1), places


def unpooled(E: AnyArray, places: AnyArray, windows: Sliding) -> AnyArray:
    """Return each gradient at the place of its maximum, (b, H, W, C)."""
    import torch

    sides = [[windows.size] * 2, [windows.stride] * 2, [0, 0], [1, 1]]
    back = torch.ops.aten.max_pool2d_with_indices_backward
    return back(_first(E), _blank(E, windows), *sides, False, places).permute(0, 2, 3, 1)


def leaky_relu_pass(h: AnyArray, leak: float) -> AnyArray:
    """Return h above zero, leak · h below."""
    import torch

    return torch.nn.functional.leaky_relu(h, leak)


def leaky_back_pass(h: AnyArray, leak: float, E: AnyArray) -> None:
    """Multiply a gradient in place by 1 above zero, by leak below."""
    import torch

    # `where` takes ten times as long on a CPU.
    torch.ops.aten.leaky_relu_backward(E, h, leak, False, grad_input=E)


def adam_pass(w: AnyArray, g: AnyArray, memory: Sequence[AnyArray], step: int, rates: dict[str, Any]) -> None:
    """Change w, m and v by one step of Adam in PyTorch's single pass; see `credit.Adam`."""
    import torch

    m, v = memory
    w.grad = g.contiguous()
    optimiser = torch.optim.Adam([w], fused=True, **rates)
    # PyTorch counts the step before it takes it.
    counted = torch.tensor(float(step - 1), device=w.device)
    optimiser.state[w] = {"step": counted, "exp_avg": m, "exp_avg_sq": v}
    optimiser.step()
    w.grad = None


def _blank(like: AnyArray, windows: Sliding) -> AnyArray:
    """Return unset pictures, channels first by name and last in memory."""
    return _first(like.new_empty((like.shape[0], *windows.shape)))


def _first(pictures: AnyArray) -> AnyArray:
    return pictures.permute(0, 3, 1, 2)


def _kernel(K: AnyArray, windows: Sliding) -> AnyArray:
    return K.reshape(K.shape[0], windows.size, windows.size, -1).permute(0, 3, 1, 2)


def _places(rows: AnyArray, windows: Sliding) -> AnyArray:
    return _first(rows.reshape(-1, *windows.steps, rows.shape[1]))


def _rows(found: AnyArray) -> AnyArray:
    return found.permute(0, 2, 3, 1).reshape(-1, found.shape[1])


def torch_device(device: str) -> tuple[Any, Any]:
    """Return PyTorch and one of its devices, "cpu", "cuda", "cuda:1", "mps"; see `network.on_device`."""
    torch = _torch(device)
    try:
        place = torch.device(device)
        torch.zeros(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"device must be one that PyTorch {torch.__version__} reaches here, such as 'cpu'; got {device!r}: {reason}"
        ) from error
    return torch, place


def _torch(device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ConfigError(
            f"device={device!r} needs PyTorch, which is not installed: pip install 'neurodecorr[torch]'. "
            "Without a device, networks run on numpy."
        ) from error
    return torch
