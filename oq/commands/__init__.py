"""The commands, a function each; ``oq.cli`` gives them their names."""
