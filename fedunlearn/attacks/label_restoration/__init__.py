"""How many samples of each class are behind an update?"""
