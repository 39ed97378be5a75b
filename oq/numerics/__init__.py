"""The values and equations of quantization: types, scales, statistics, histograms, calibrators.

All other parts build on it, so it may import only NumPy and :mod:`oq.errors`.
"""
