"""The values and equations of quantization: types, grids, statistics, histograms, what a calibrator
is.

Everything above rests on it, so it may import NumPy and :mod:`oq.errors`, and nothing else of oq.
"""
