"""Tests mirror the tree; what several of them use lies in graphs.py and real.py."""
