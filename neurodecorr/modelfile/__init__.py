"""Model files: one network per file, declarative, with its source."""

from neurodecorr.modelfile.files import load_model, model_file, model_names
from neurodecorr.modelfile.model import CREDITS, Model

__all__ = ["CREDITS", "Model", "load_model", "model_file", "model_names"]
