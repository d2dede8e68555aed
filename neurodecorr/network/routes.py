"""Ways from one weighted layer to the next: maps without weights, and the way back along them.

Pictures lie channels last, (b, H, W, C), so that a patch is copied in runs of C numbers. Arrays of numpy go through
compiled passes, tensors of torch through its convolutions, others through slices of their library. A product with
patches makes a few samples' patches at a time: all of a batch are k² times its pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from neurodecorr._numerics.blas import in_threads, one_thread, workers
from neurodecorr._typing import AnyArray
from neurodecorr.network import kernels, torch
from neurodecorr.network.algebra import empty_like, in_order, product, sum_rows

BLOCK = 1 << 20  # bytes of patches that are made at once: they stay in the cache until their product is done


class Route:
    """A map from activity to activity or rows; `back` applies the transpose of its derivative.

    ::

        ∂loss/∂x = (∂y/∂x)ᵀ ∂loss/∂y

    The last route before a layer also multiplies: its rows X (samples, or patches) need not exist at once for that.
    """

    @property
    def shape_behind(self) -> tuple[int, ...]:
        """Shape of what one sample becomes; the last number is the length of a row."""
        raise NotImplementedError

    def forth(self, activity: AnyArray) -> tuple[AnyArray, Any]:
        """Return the mapped activity, and what `back` has to know."""
        raise NotImplementedError

    def back(self, E: AnyArray, memo: Any) -> AnyArray:
        """Return the gradient before the map, for the gradient behind it."""
        raise NotImplementedError

    def rows(self, activity: AnyArray) -> AnyArray:
        """Return X, (rows, n)."""
        found, _ = self.forth(activity)
        return array_namespace(found).reshape(found, (-1, self.shape_behind[-1]))

    def multiply(self, activity: AnyArray, K: AnyArray) -> AnyArray:
        """Return X Kᵀ, (rows, units)."""
        return product(self.rows(activity), K.T)

    def correlate(self, delta: AnyArray, activity: AnyArray) -> AnyArray:
        """Return δᵀX, (units, n)."""
        return product(delta.T, self.rows(activity))

    def spread(self, delta: AnyArray, K: AnyArray) -> AnyArray:
        """Return the gradient before the map, for the gradient δ K behind it."""
        return self.back(product(delta, K), None)

    def mean(self, activity: AnyArray) -> AnyArray:
        """Return the mean row, (n,)."""
        X = self.rows(activity)
        return sum_rows(X) / X.shape[0]


@dataclass(frozen=True)
class FlattenRoute(Route):
    """(b, *shape) → (b, features)."""

    shape: tuple[int, ...]

    @property
    def shape_behind(self) -> tuple[int, ...]:
        """(features,)."""
        return (math.prod(self.shape),)

    def forth(self, activity: AnyArray) -> tuple[AnyArray, Any]:
        """Return one row per sample."""
        return array_namespace(activity).reshape(activity, (-1, math.prod(self.shape))), None

    def back(self, E: AnyArray, memo: Any) -> AnyArray:
        """Return the rows in the shape of the activity."""
        return array_namespace(E).reshape(E, (-1, *self.shape))


@dataclass(frozen=True)
class ChannelsLast(Route):
    """(b, C, H, W) → (b, H, W, C)."""

    shape: tuple[int, ...]

    @property
    def shape_behind(self) -> tuple[int, ...]:
        """(H, W, C)."""
        return (*self.shape[1:], self.shape[0])

    def forth(self, activity: AnyArray) -> tuple[AnyArray, Any]:
        """Return pictures with their channels last, in memory, too: every pass over them reads runs of channels."""
        turned = array_namespace(activity).permute_dims(activity, (0, 2, 3, 1))
        return in_order(turned), None

    def back(self, E: AnyArray, memo: Any) -> AnyArray:
        """Return gradients with channels first."""
        return array_namespace(E).permute_dims(E, (0, 3, 1, 2))


@dataclass(frozen=True)
class Windows(Route):
    """Square windows that slide over pictures of a shape (H, W, C).

    Parameters
    ----------
    shape : tuple of int
        (H, W, C).
    size, stride, padding : int
        Side of a window, step from one to the next, zeros added at each border.
    """

    shape: tuple[int, ...]
    size: int
    stride: int = 1
    padding: int = 0

    @property
    def steps(self) -> tuple[int, int]:
        """Number of windows down and across."""
        height, width = ((side + 2 * self.padding - self.size) // self.stride + 1 for side in self.shape[:2])
        return height, width

    def places(self) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
        """Yield each place in a window, and where in the padded picture all windows have it."""
        height, width = self.steps
        for i in range(self.size):
            for j in range(self.size):
                rows = slice(i, i + (height - 1) * self.stride + 1, self.stride)
                yield i, j, (slice(None), rows, slice(j, j + (width - 1) * self.stride + 1, self.stride), slice(None))

    def padded(self, activity: AnyArray) -> AnyArray:
        """Return pictures with their borders of zeros."""
        if self.padding == 0:
            return activity
        wide = self.blank(activity)
        wide[self._inside] = activity
        return wide

    def blank(self, like: AnyArray) -> AnyArray:
        """Return as many padded pictures of zeros."""
        height, width = (side + 2 * self.padding for side in self.shape[:2])
        shape = (like.shape[0], height, width, self.shape[2])
        return array_namespace(like).zeros(shape, dtype=like.dtype, device=device(like))

    def unpadded(self, wide: AnyArray) -> AnyArray:
        """Return padded pictures without their borders."""
        return wide if self.padding == 0 else wide[self._inside]

    @property
    def _inside(self) -> tuple[slice, ...]:
        p = self.padding
        return (slice(None), slice(p, p + self.shape[0]), slice(p, p + self.shape[1]), slice(None))


class Patches(Windows):
    """(b, H, W, C) → (b, H', W', k·k·C): each place's patch, in the order (row, column, channel)."""

    @property
    def shape_behind(self) -> tuple[int, ...]:
        """(H', W', k·k·C)."""
        return (*self.steps, self.size * self.size * self.shape[2])

    def forth(self, activity: AnyArray) -> tuple[AnyArray, Any]:
        """Return the patches."""
        found = empty_like(activity, (activity.shape[0], *self.steps, self.size, self.size, self.shape[2]))
        if isinstance(activity, np.ndarray):
            kernels.gather(np.ascontiguousarray(activity), found, self.stride, self.padding)
        else:
            wide = self.padded(activity)
            for i, j, place in self.places():
                found[:, :, :, i, j, :] = wide[place]
        return array_namespace(found).reshape(found, (activity.shape[0], *self.shape_behind)), None

    def back(self, E: AnyArray, memo: Any) -> AnyArray:
        """Return at each place the sum over the patches that saw it."""
        E = array_namespace(E).reshape(E, (-1, *self.steps, self.size, self.size, self.shape[2]))
        if isinstance(E, np.ndarray):
            found = empty_like(E, (E.shape[0], *self.shape))
            kernels.collect(np.ascontiguousarray(E), found, self.stride, self.padding)
            return found
        wide = self.blank(E)
        for i, j, place in self.places():
            wide[place] += E[:, :, :, i, j, :]
        return self.unpadded(wide)

    def multiply(self, activity: AnyArray, K: AnyArray) -> AnyArray:
        """Return X Kᵀ, (rows, units): a convolution with the rows of K."""
        if torch.is_tensor(activity):
            return torch.convolved(activity, K, self)
        if not isinstance(activity, np.ndarray):
            return super().multiply(activity, K)
        activity = np.ascontiguousarray(activity)
        found = empty_like(activity, (len(activity) * math.prod(self.steps), len(K)))

        def block(samples: slice, rows: slice, X: AnyArray, thread: int) -> None:
            kernels.gather(activity[samples], X, self.stride, self.padding)
            np.matmul(self._flat(X), K.T, out=found[rows])

        self._in_blocks(activity, block)
        return found

    def correlate(self, delta: AnyArray, activity: AnyArray) -> AnyArray:
        """Return δᵀX, (units, n)."""
        if torch.is_tensor(activity):
            return torch.correlated(delta, activity, self)
        if not isinstance(activity, np.ndarray):
            return super().correlate(delta, activity)
        activity = np.ascontiguousarray(activity)
        found = np.zeros((workers(), delta.shape[1], self.shape_behind[-1]), activity.dtype)

        def block(samples: slice, rows: slice, X: AnyArray, thread: int) -> None:
            kernels.gather(activity[samples], X, self.stride, self.padding)
            found[thread] += delta[rows].T @ self._flat(X)

        self._in_blocks(activity, block)
        return np.asarray(found.sum(axis=0))

    def spread(self, delta: AnyArray, K: AnyArray) -> AnyArray:
        """Return at each place the sum over the patches that saw it of their rows of δ K."""
        if torch.is_tensor(delta):
            return torch.spread(delta, K, self)
        if not isinstance(delta, np.ndarray):
            return super().spread(delta, K)
        found = empty_like(delta, (len(delta) // math.prod(self.steps), *self.shape))

        def block(samples: slice, rows: slice, E: AnyArray, thread: int) -> None:
            np.matmul(delta[rows], K, out=self._flat(E))
            kernels.collect(E, found[samples], self.stride, self.padding)

        self._in_blocks(found, block)
        return found

    def mean(self, activity: AnyArray) -> AnyArray:
        """Return the mean row, (n,): that of the patches of the mean picture."""
        flat = array_namespace(activity).reshape(activity, (activity.shape[0], -1))
        picture = array_namespace(flat).reshape(sum_rows(flat) / flat.shape[0], (1, *self.shape))
        return super().mean(picture)

    def _in_blocks(self, pictures: AnyArray, work: Callable[[slice, slice, AnyArray, int], None]) -> None:
        """Work on a few samples at a time, on as many threads as BLAS would use.

        `work` is told where they and their rows lie, given an array for their patches, and the number of its thread.
        Products of numpy let other threads run; those of scipy's BLAS do not.
        """
        places, parts = math.prod(self.steps), workers()
        count = max(1, BLOCK // (places * self.shape_behind[-1] * pictures.dtype.itemsize))
        begins = range(0, len(pictures), count)

        def share(thread: int) -> None:
            patches = empty_like(pictures, (count, *self.steps, self.size, self.size, self.shape[2]))
            for begin in begins[thread::parts]:
                end = min(begin + count, len(pictures))
                work(slice(begin, end), slice(begin * places, end * places), patches[: end - begin], thread)

        with one_thread():
            if len(begins) < 2 * parts:
                for thread in range(parts):
                    share(thread)
            else:
                in_threads(share, parts)

    def _flat(self, patches: AnyArray) -> AnyArray:
        return patches.reshape(-1, self.shape_behind[-1])


class MaxWindows(Windows):
    """(b, H, W, C) → (b, H', W', C): the largest number of each window; the first one, where several are."""

    @property
    def shape_behind(self) -> tuple[int, ...]:
        """(H', W', C)."""
        return (*self.steps, self.shape[2])

    def forth(self, activity: AnyArray) -> tuple[AnyArray, Any]:
        """Return the maxima, and where each was found."""
        if isinstance(activity, np.ndarray):
            best = empty_like(activity, (activity.shape[0], *self.shape_behind))
            winner = np.empty(best.shape, np.int16)
            kernels.maxima(np.ascontiguousarray(activity), best, winner, self.size, self.stride)
            return best, winner
        if torch.is_tensor(activity):
            return torch.maxima_pass(activity, self)
        xp = array_namespace(activity)
        places = self.places()
        best = xp.asarray(activity[next(places)[2]], copy=True)
        winner = xp.zeros(best.shape, dtype=xp.int16, device=device(activity))
        for i, j, place in places:
            seen = activity[place]
            higher = (seen > best) | (seen != seen)  # NaN wins, too: it must not vanish here
            best = xp.where(higher, seen, best)
            winner[higher] = i * self.size + j
        return best, winner

    def back(self, E: AnyArray, memo: Any) -> AnyArray:
        """Return each gradient at the place of its maximum."""
        E = array_namespace(E).reshape(E, (-1, *self.shape_behind))
        if torch.is_tensor(E):
            return torch.unpooled(E, memo, self)
        if isinstance(E, np.ndarray):
            found = empty_like(E, (E.shape[0], *self.shape))
            kernels.unpool(np.ascontiguousarray(E), memo, found, self.size, self.stride)
            return found
        wide = self.blank(E)
        for i, j, place in self.places():
            wide[place] += E * array_namespace(E).astype(memo == i * self.size + j, E.dtype)
        return wide


class AverageWindows(Windows):
    """(b, H, W, C) → (b, H', W', C): the mean of each window."""

    @property
    def shape_behind(self) -> tuple[int, ...]:
        """(H', W', C)."""
        return (*self.steps, self.shape[2])

    def forth(self, activity: AnyArray) -> tuple[AnyArray, Any]:
        """Return the means."""
        return sum(activity[place] for _, _, place in self.places()) / self.size**2, None

    def back(self, E: AnyArray, memo: Any) -> AnyArray:
        """Return a share of each gradient at every place of its window."""
        E = array_namespace(E).reshape(E, (-1, *self.shape_behind)) / self.size**2
        wide = self.blank(E)
        for _, _, place in self.places():
            wide[place] += E
        return wide
