"""The simulator of the POS: one page for each of its places, where every capability can be tried."""
