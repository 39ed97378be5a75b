"""Hypothesis without a deadline: a busy machine is no bug."""

from hypothesis import settings

settings.register_profile("oq", deadline=None)
settings.load_profile("oq")
