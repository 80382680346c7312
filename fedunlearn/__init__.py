"""fedunlearn: when a federation forgets, what does it give away?"""

__version__ = "0.1.0"
