"""`locality`: which signals the synapses of each rule read."""

from __future__ import annotations

import click


@click.command(short_help="Show which signals the synapses of each rule read.")
def locality() -> None:
    """Run every rule on perturbed signals and print what each synapse's change depends on.

    Rules of decorrelation, and of feedback weights that learn:

    \b
      local      only what the synapse can measure, and a global scalar such as the rate
      broadcast  also a scalar of the whole layer, or the weight of the reciprocal synapse
      not local  also other synapses' weights, or activity of third units

    Rules of credit assignment:

    \b
      local      only the synapse's two units, feedback onto them, the output's error or the loss
      needs …    what else has to be transported or broadcast: Wᵀ, Mᵀ, a layer scalar; or
                 error units, a population of its own that errors pass on their way
    """  # noqa: D301 - click takes the letter \b, not its spelling
    from neurodecorr.locality import audit_all, format_audit
    from neurodecorr.locality.credit import CREDIT_READS, audit_all_credit, audit_all_feedback

    tables = {
        "Decorrelation": format_audit(audit_all()),
        "Feedback weights that learn": format_audit(audit_all_feedback()),
        "Credit assignment": format_audit(audit_all_credit(), CREDIT_READS),
    }
    click.echo("\n\n".join(f"{title}\n{table}" for title, table in tables.items()))
