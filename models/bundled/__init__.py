"""The small trained models and the real data that ship with oq (no code)."""
