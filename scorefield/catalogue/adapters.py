"""Adapters, by file: what is learned in the place of a network's own weights."""

from scorefield.base.entries import Entries

adapters = Entries({"low-rank": "nets.adapter:LowRank"})
