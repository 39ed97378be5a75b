"""What is measured against other tools, as commands anyone can run."""
