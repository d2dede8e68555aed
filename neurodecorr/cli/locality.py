"""`locality`: which signals the synapses of each rule read."""

from __future__ import annotations

import click

__all__ = ["locality"]


@click.command(short_help="Show which signals the synapses of each rule read.")
def locality() -> None:
    r"""Run every rule on perturbed signals and print what each synapse's change depends on.

    \b
      local      only what the synapse can measure, and a global scalar such as the rate
      broadcast  also a scalar of the whole layer, or the weight of the reciprocal synapse
      not local  also other synapses' weights, or activity of third units
    """
    from neurodecorr.plasticity import audit_all, format_audit

    click.echo(format_audit(audit_all()))
