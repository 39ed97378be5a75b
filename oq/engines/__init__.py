"""One engine per file; :mod:`oq.engine` lists them."""
