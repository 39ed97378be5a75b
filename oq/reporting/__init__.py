"""A run in words: the report, notes and warnings, and the provenance written into the file.

May import ``refine``, ``comparison``, ``checks`` and what stands below.
"""
