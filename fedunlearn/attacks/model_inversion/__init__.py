"""What a model shows of its classes: pictures that it takes for them, made from the model alone or with a prior."""
