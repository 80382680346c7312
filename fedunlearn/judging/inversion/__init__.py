"""How close claimed pictures of classes come to the private samples: pure functions, and the judge's own classifier."""
