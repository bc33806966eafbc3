"""The physics of the measurement: transforms, coils, masks and the operators made of them."""
