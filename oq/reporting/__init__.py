"""A run as text: the report, notes and warnings, and the metadata written into the file.

May import ``refine``, ``comparison``, ``checks`` and everything below.
"""
