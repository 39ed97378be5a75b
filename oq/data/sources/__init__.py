"""Where samples come from, one kind of data per file.

A **table** has rows: it knows how many, and reads any of them in ascending order.  A **stream**
gives batches one after the other.  Every table is a stream; what a user hands over as complete
feeds is only a stream.  May import what ``data`` may.
"""
