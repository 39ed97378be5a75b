"""What pytest collects: the two mapped folders through ``oq/`` only.

``oq/calibrators`` and ``oq/targets`` are links to the folders beside this file.  Collected here as
well (``pytest .``), they would be imported a second time, under names that are not theirs.
"""

collect_ignore = ["calibrators", "targets"]
