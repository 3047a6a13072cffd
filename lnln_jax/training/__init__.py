"""Training: the loop, its steps on one or many devices, checkpoints, logs."""
