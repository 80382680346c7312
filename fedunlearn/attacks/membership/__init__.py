"""Is a sample still part of the training data?"""
