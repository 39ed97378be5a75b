"""What a Q/DQ file says about itself: its findings and the forecast of each node."""
