"""Wires with resistance: the matrix that a crossbar acts as when its lines have resistance."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from neurodecorr._typing import Floats
from neurodecorr._validation import positive
from neurodecorr.errors import InputError
from neurodecorr.hardware.devices.conductance_range import conductances
from neurodecorr.hardware.devices.pairs import Pair


def effective_conductances(G: npt.ArrayLike, wire_resistance_ohm: float) -> Floats:
    """Return the conductances that a crossbar with resistive wires acts as.

    ::

        I = G_eff v:    D_j = diag(g_j) − diag(g_j) T_j⁻¹ diag(g_j),    b_j = w diag(g_j) T_j⁻¹ e_0,
        S_0 = w + D_0,    S_j = 2w + D_j − w² S_j−1⁻¹,    r_j = b_j v_j + w S_j−1⁻¹ r_j−1,    I = w S_last⁻¹ r_last

    Column j is driven at its first row by v_j. It passes row after row, one wire of conductance w = 1/r before each
    device. Row i passes column after column, one wire behind each device, into a virtual ground. g_j are the devices
    of column j and T_j is Kirchhoff's law along its line: a tridiagonal matrix. Eliminating the lines of the columns
    one after the other solves the equations of all nodes (`node_equations`) exactly, in rows³ · columns operations.
    This is CrossSim's `NoninterleavedInputSourceArray` without its iteration.

    Parameters
    ----------
    G : (..., rows, columns) array
        Conductances of the devices in siemens, ≥ 0; one crossbar, or many along the first axes.
    wire_resistance_ohm : float
        r > 0 in ohms, of the wire between neighbouring devices.

    Returns
    -------
    (..., rows, columns) array
        G_eff in siemens.

    Raises
    ------
    InputError
        If G is no matrix of finite conductances ≥ 0.

    Examples
    --------
    A device of 1 kΩ behind two wires of 1 Ω:


    >>> round(1 / effective_conductances([[1e-3]], wire_resistance_ohm=1.0).item(), 9)
    1002.0

    References
    ----------
    sandialabs/cross-sim 3.2, `simulator/circuits/array/NonInterleaved_InputSource.py`.
    """
    G = _crossbar(G)
    rows, columns = G.shape[-2:]
    w = 1 / positive(wire_resistance_ohm, "wire_resistance_ohm", "ohms")
    line = w * _chain(rows)
    identity = np.eye(rows)
    share = right = np.zeros((*G.shape[:-2], rows, 0))
    for j in range(columns):
        g = G[..., :, j, None]
        inverse = np.linalg.inv(line + g * identity)
        S = g * identity - g * inverse * np.swapaxes(g, -1, -2) + w * identity
        if j:
            S += w * (identity - share)
        right = np.concatenate([share @ right if j else right, w * g * inverse[..., :, :1]], axis=-1)
        share = w * np.linalg.inv(S)
    return np.asarray(share @ right)


def acting_weights(pair: Pair, wire_resistance_ohm: float) -> Floats:
    """Return the weights of a pair behind its wires; without resistance, its own weights.

    ::

        two sides:  W = (G_eff(G⁺) − G_eff(G⁻))/s,    G_eff of `effective_conductances`

    Two sides are two crossbars. With one side the reference is one more row of the same crossbar.
    """
    if wire_resistance_ohm == 0:
        return pair.weights()
    if pair.sides == "one":
        lines = effective_conductances(np.concatenate([pair.plus, pair.minus], axis=-2), wire_resistance_ohm)
        return np.asarray((lines[..., :-1, :] - lines[..., -1:, :]) / pair.scale)
    plus, minus = (effective_conductances(G, wire_resistance_ohm) for G in (pair.plus, pair.minus))
    return np.asarray((plus - minus) / pair.scale)


def _chain(length: int) -> Floats:
    """Return Kirchhoff's law along a line of unit conductances that is driven at one end and open at the other."""
    matrix = 2 * np.eye(length) - np.eye(length, k=1) - np.eye(length, k=-1)
    matrix[-1, -1] = 1
    return matrix


def node_equations(G: Floats, wire: float) -> Any:
    """Return the matrix N of Kirchhoff's law at the nodes of a crossbar.

    ::

        upper node (i, j), on the line of column j:  w (u_ij − u_i−1,j) + w (u_ij − u_i+1,j) + G_ij (u_ij − d_ij) = 0
        lower node (i, j), on the line of row i:     w (d_ij − d_i,j−1) + w (d_ij − d_i,j+1) − G_ij (u_ij − d_ij) = 0

    Outside the crossbar u_−1,j = v_j and d_i,columns = 0; lines end at the last row and begin at the first column.

    Parameters
    ----------
    G : (rows, columns) array
        Conductances of the devices in siemens.
    wire : float
        Conductance w of a wire between neighbours, in siemens.

    Returns
    -------
    (2 rows columns, 2 rows columns) scipy.sparse.csc_matrix
        Upper nodes first, row by row.

    Raises
    ------
    InputError
        If G is no matrix of finite conductances ≥ 0.

    References
    ----------
    sandialabs/cross-sim 3.2, `simulator/circuits/array/NonInterleaved_InputSource.py`.
    """
    from scipy.sparse import csc_matrix, diags

    G, wire = _crossbar(G), positive(wire, "wire", "siemens")
    if G.ndim != 2:
        raise InputError(f"G must be one (rows, columns) array of conductances; got shape {G.shape}.")
    rows, columns = G.shape
    size = rows * columns
    upper = np.full((rows, columns), 2 * wire) + G
    upper[-1] -= wire
    lower = np.full((rows, columns), 2 * wire) + G
    lower[:, 0] -= wire
    along = np.full((rows, columns), -wire)
    along[:, -1] = 0
    down = np.concatenate([np.full(size - columns, -wire), np.zeros(columns)])
    steps = np.concatenate([np.zeros(size), along.ravel()])[:-1]
    falls = np.concatenate([down, np.zeros(size)])[: 2 * size - columns]
    device = -G.ravel()
    offsets = [0, 1, -1, columns, -columns, size, -size]
    bands = [np.concatenate([upper.ravel(), lower.ravel()]), steps, steps, falls, falls, device, device]
    merged: dict[int, Floats] = {}
    for offset, band in zip(offsets, bands, strict=True):
        merged[offset] = merged[offset] + band if offset in merged else band
    return csc_matrix(diags(list(merged.values()), list(merged)))


def _crossbar(G: npt.ArrayLike) -> Floats:
    checked = conductances(G, "G")
    if checked.ndim < 2 or 0 in checked.shape:
        raise InputError(f"G must be a (rows, columns) array of conductances; got shape {checked.shape}.")
    return checked
