"""Mixed precision under an accuracy budget: as much int8 as the budget allows.

:mod:`oq.budget.run` is the search, :mod:`oq.budget.strategy` says what to try next.
"""
