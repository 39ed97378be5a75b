"""From a verified Q/DQ file to what a device or its compiler takes: ``oq deploy``.

``formats.py`` holds the contract and the table of formats; a format is a file or a folder here,
with a table of rows from op to op.  ``run.py`` refuses what a format cannot take before anything is
written, has it written beside its destination, read back by :mod:`oq.artifacts` and compared with
the Q/DQ file, and renames it.  May import all that stands below ``options``, but for ``page``.
"""
