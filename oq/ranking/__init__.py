"""What quantizing each layer would cost (`oq sensitivity`)."""
