"""Predictive Load Analyzer: resources for containers and virtual machines before they need them."""

__version__ = "0.1.0"
