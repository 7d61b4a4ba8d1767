"""The fold: everything that is learned, as a function of the training log alone."""
