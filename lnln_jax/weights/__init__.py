"""Weights of networks in files: PyTorch's, safetensors, training runs, the package's own."""
