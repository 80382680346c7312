"""What was pruned out of a model: can it be put back?"""
