"""What a retraining can be short of."""

from __future__ import annotations


class TooLittleHistory(ValueError):
    """There is not enough usage on record to train and judge a model yet. Says what is needed."""
