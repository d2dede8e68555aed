"""Learning on the chip: pulsed synapses, the local rule through the devices as they are, and learning in integers."""

from neurodecorr.hardware.in_situ.audit import IN_SITU_RULES
from neurodecorr.hardware.in_situ.integers import (
    IntegerLearningRule,
    IntegerState,
    initial_integer_state,
    learn_integers,
)
from neurodecorr.hardware.in_situ.learning_chip import LearningChips, learning_chips
from neurodecorr.hardware.in_situ.reprogramming import InSituComparison, compare_in_situ, learn_in_situ
from neurodecorr.hardware.in_situ.rule import InSituRule
from neurodecorr.hardware.in_situ.synapses import PulsedSynapse

__all__ = [
    "IN_SITU_RULES",
    "InSituComparison",
    "InSituRule",
    "IntegerLearningRule",
    "IntegerState",
    "LearningChips",
    "PulsedSynapse",
    "compare_in_situ",
    "initial_integer_state",
    "learn_in_situ",
    "learn_integers",
    "learning_chips",
]
