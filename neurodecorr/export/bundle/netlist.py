"""The netlist of a circuit in a bundle: under the first golden stimulus, expecting the golden response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from neurodecorr.circuit import Circuit
from neurodecorr.export.bundle.reference_response import ReferenceResponse
from neurodecorr.export.spice.deck import Deck, probes
from neurodecorr.export.spice.netlist import netlist
from neurodecorr.hardware.devices.pairs import Pair


@dataclass(frozen=True, eq=False)
class Netlist:
    """A netlist that follows from a circuit, its golden numbers and two facts, to the byte on every machine.

    Parameters
    ----------
    circuit : Circuit
        R and τ.
    golden : ReferenceResponse
        Stimulus and response.
    pair : Pair
        Conductances, of a crossbar.
    kind : {"ota", "crossbar"}
        Form of the netlist.
    simulator : {"ngspice", "gnucap"}
        Dialect.
    """

    circuit: Circuit
    golden: ReferenceResponse
    pair: Pair
    kind: str
    simulator: str

    def __repr__(self) -> str:
        return f"Netlist({self.circuit}, {self.kind}, {self.simulator})"

    def facts(self) -> dict[str, float]:
        """Return what depends on eigenvalues, whose last digits differ from machine to machine."""
        deck = self._deck(None)
        return {"slowest_mode_s": float(deck.facts["slowest_mode_s"]), "t_end_s": deck.run.stop_s}

    def text(self, facts: Mapping[str, Any]) -> str:
        """Return the text under these facts."""
        deck = self._deck(facts["t_end_s"])
        expected = probes("xbar", [probe.node for probe in deck.probes], self.golden.response[0])
        said = {**deck.facts, "slowest_mode_s": float(facts["slowest_mode_s"])}
        return replace(deck, facts=said, probes=expected).text()

    def _deck(self, t_end_s: float | None) -> Deck:
        pair = self.pair if self.kind == "crossbar" else None
        stimulus = self.golden.stimulus[0]
        return netlist(self.circuit, stimulus, self.kind, self.simulator, pair=pair, t_end_s=t_end_s)
