"""Which images are behind an update?"""
