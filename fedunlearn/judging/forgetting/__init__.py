"""How completely a model has forgotten, and how far it is from models that never saw the data.

Everything here is a pure function of arrays (or, for relearning, of a model that is copied first). A model compared
with itself scores the ideal value; what is undefined, above all an empty set of forgotten samples, is NaN, never 0.
"""
