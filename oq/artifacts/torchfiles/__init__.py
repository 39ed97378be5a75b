"""Torch's two kinds of archive, read without running what a stranger may have put into one.

``exported.py`` reads ``torch.export`` archives (.pt2) and evaluates their graph node by node:
torch's own loader runs Python text and pickles that lie in them.  ``script.py`` reads TorchScript
(.pt): its code is parsed first, and torch loads it where it calls nothing but ``allowed.py``.  May
import what ``artifacts`` may.
"""
