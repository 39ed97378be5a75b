"""The kinds of data, one per file.

A **table** has rows: it knows their number, and reads any of them in ascending order.  A **stream**
yields batches one after the other.  Every table is also a stream; complete feeds from the user are
only a stream.  May import what ``data`` may.
"""
