"""The arithmetic of AMD's DPU: integers, shifts, and the rules on where scales may lie.

real = code * 2**-position        int8 codes, per tensor, zero point 0; larger = finer
"""
