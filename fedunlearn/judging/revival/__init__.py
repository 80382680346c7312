"""How far a pruned class is back: what a model answers, which signs were right, which mask was found.

Everything here is a pure function of arrays; what is undefined, above all a share of nothing, is NaN, never 0.
"""
