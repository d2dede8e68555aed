"""Learning on the chip: pulsed synapses, the local rule through the devices as they are, and learning in integers."""

from neurodecorr.hardware.insitu.audited import IN_SITU_RULES
from neurodecorr.hardware.insitu.chips import LearningChips, learning_chips
from neurodecorr.hardware.insitu.healing import Healing, heal, learn_in_situ
from neurodecorr.hardware.insitu.integers import IntegerPlan, IntegerState, integer_state, learn_integers
from neurodecorr.hardware.insitu.plan import InSitu
from neurodecorr.hardware.insitu.synapses import PulsedSynapse

__all__ = [
    "IN_SITU_RULES",
    "Healing",
    "InSitu",
    "IntegerPlan",
    "IntegerState",
    "LearningChips",
    "PulsedSynapse",
    "heal",
    "integer_state",
    "learn_in_situ",
    "learn_integers",
    "learning_chips",
]
