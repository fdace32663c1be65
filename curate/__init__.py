"""From a list of classes to a labelled, balanced, leak-free image dataset and a model trained on it."""

__version__ = "0.1.0"
