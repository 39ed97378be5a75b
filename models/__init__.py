"""Torch models with the structures that matter, and the script that trains and exports them."""
