"""Stores and their contract; importing this imports no driver."""

from ..record import Outcome, Patch, Record
from .base import Store
from .urls import open_store

__all__ = ["Outcome", "Patch", "Record", "Store", "open_store"]
